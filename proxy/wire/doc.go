// Package wire holds connections: it accepts, connects, reads, writes and waits, and
// runs the sessions that do so. It knows nothing of SMTP. Of the package that uses it,
// it knows only [Config] and [Session].
//
// [Loops] run sessions. A [Listener] accepts connections and has a session opened for
// each. A session has a [Leg] to the client and one to the server, which it reads and
// writes. In a loop, a session runs on a [Runner].
//
// # Loops
//
// On Linux there is one loop fewer than processors (runtime.GOMAXPROCS), and at least
// one. A loop is one goroutine. It waits for all of its sockets at once (epoll). Then
// it calls what is due: the event of each socket, the alarms that have expired, and the
// functions that were given to it. What it does from one wait to the next is a turn.
//
// A session runs as a coroutine (iter.Pull) of the loop. That coroutine is its Runner.
// Where the session waits, it yields; the loop resumes it when the wait is over. On
// other systems, and with the build tag portable, there are no loops: a session is a
// goroutine, its Runner is nil, and package net waits.
//
// # What may wait
//
// Nothing that runs in a loop may wait for anything but a socket of that loop: every other
// session of the loop would wait too. [Leg.Fill], [Leg.Write] and [Runner.AwaitConnected]
// wait by yielding. For everything else that takes time, such as looking up a name, reading
// a file, asking another program or waiting for another goroutine, a session leaves the loop
// by [Runner.Leave], which continues it on a goroutine, and comes back by [Runner.Return].
// In between, its Runner must not be used, and any goroutine may wait for its legs.
//
// What the loop itself calls must not wait even for a socket: the wake function of
// [StartWatch], and the methods Legs and Lose of a [Session]. A mutex may be locked in
// a loop if nobody waits while holding it.
//
// A session that reads without end lets others have their turn: it calls
// [Runner.BeforeRead] before each [Leg.Fill].
//
// # Waiting with nothing to run on
//
// A session that waits for its client's next line costs neither a stack nor a buffer. It
// calls [Runner.MayIdle], and if that agrees, [Runner.Idle]. If Idle returns true, the
// session belongs to somebody else: whoever called Idle returns without touching it again.
// When one of the two legs is ready, is interrupted, expires or is closed, the loop calls
// [Session.ResumeOn] with another Runner. ResumeOn first calls [Runner.Resume].
//
// # Woken once
//
// Each direction of a socket has at most one waiter: a Runner, a goroutine, an idle
// session or a [Watch]. The waiter is removed before it is woken, so it is woken once
// for each time that it waits. An idle session waits for two sockets; the first to wake
// it wins. A Runner that is woken is not told why: its call is tried again, and may
// find that there is nothing yet.
//
// Nothing is lost between two waits. What the kernel reports while nobody waits makes the
// direction ready for the next call. [Leg.Interrupt] ends the next Fill if none is under way.
//
// # Locks
//
// In the order in which they may be held together:
//
//  1. locks of the user, such as that of a session. They may be held during Leg.Cut and
//     Leg.Interrupt, so no lock of this package is held while [Session.Legs] or
//     [Session.Lose] is called;
//  2. of Loops, and of an acceptor;
//  3. of a socket;
//  4. of a loop. It is held for a few instructions, and for a write to wake the loop.
//
// The lock of a socket is released during the system calls of a read or a write. A
// descriptor is closed only after the last call on it has returned. A waiter is woken under
// the lock of its socket: therefore waking only puts a function on the list of the loop.
//
// # Who may call what
//
// Methods of a Runner are for the session that it runs, while it runs it. Any goroutine may
// call the methods of Loops and of a Listener, [Leg.Interrupt], [Leg.InterruptWrite] and
// [Leg.Cut]. All other methods of a Leg are for the session; while it is off its loop, one
// goroutine may read a leg and another write it, after [Leg.Prepare].
//
// # Panics
//
// [Contain] is the only function that recovers. Every goroutine, Runner and callback of this
// package runs under it. A panic in a callback of a loop ends the session that the socket
// belongs to ([Session.Lose]); if there is none, [Config].Defect logs it. The loop goes on.
package wire
