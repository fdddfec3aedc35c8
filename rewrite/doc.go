// Package rewrite decides. It knows SMTP's dialogue and runs the rules that mend
// it, and knows nothing of connections, clocks or logs. The rules themselves are
// in package heal.
//
// A [Dialogue] is one session as a state machine: it is fed with the client's
// commands, the server's replies and what happened to the connections, and says
// what is to be written ([Dialogue.ToServer], [Dialogue.ToClient]) and what to
// wait for ([Dialogue.Next]).
//
// # Stages
//
// A [Rule] is a row: a name, texts for people, options, and functions for the
// stages it wants ([Actions]). A session passes these stages:
//
//   - First octets ([Opening]): the client has not been greeted. A rule may have
//     a TLS handshake come first, go on in clear where TLS is due, or wait up to
//     five seconds for the client's first octets.
//   - Line: what a client sent up to an LF is no line: it does not end with CRLF,
//     or has a CR, LF or NUL in it. Or it is a BDAT whose argument cannot be read. A rule may return the line that is meant,
//     without its end. It must be a line, and no longer than what came.
//   - Reply repair ([Repair]): what a server sent is no well-formed reply, no
//     whole one, or more than one. A rule may replace it by one whole reply, or
//     drop it. The reply is never of a better class than the worst code in it,
//     and only a yes that nobody asked for, or what has no code, is dropped.
//   - Offer ([Extensions]): the server has answered EHLO. What a rule changes is
//     what the server means: for us, for other rules and for the client.
//   - Command ([Turn]): a rule may change the client's line, answer it, have other
//     commands said first, or give the server less time for its answer than the
//     route does.
//   - SASL ([Turn]): a rule may change a line of an AUTH exchange, answer it, with
//     334 too, or swallow it. Where the server has not sent a 334, what the rules
//     leave must be an AUTH command. No rule sees "*", with which a client cancels.
//   - Greeting and reply ([Turn]): a rule may change the reply, or have a line
//     said in its place, on the same connection or on a fresh one. To a 334 that
//     line is the client's next SASL line.
//   - Message ([Text], [Filter]): a rule may change the text while it streams by,
//     or have the message refused at its end.
//
// Commands, SASL lines, messages and first octets meet the rules first to last;
// offers and replies meet them last to first. Every rule sees what the rules
// before it have left, and each that has changed something is counted
// ([Listener.Applied]) when what it did is delivered.
//
// # The second EHLO
//
// A client repeats its hello within TLS, and behind XCLIENT. Where either ends here and
// the server refuses the second hello of its connection as such, the client gets what
// the server answered to the first. [Turn.Recall] asks for that in other cases. It is
// the only reply of class 2 in place of a refusal: the server has given it, on the same
// connection, to the same command.
//
// # LMTP
//
// A session whose LHLO was accepted is one of LMTP (RFC 2033). The server answers the
// end of a message once for each recipient that it has accepted: see
// [Dialogue.Suffices].
//
// # Products
//
// A Set may carry the Signs of the product that it is for, and another set may name it
// among its Products. Then its rules, with its options, act in those sessions alone
// that show a sign: in the greeting, in the server's reply to EHLO or HELP, or in a
// verb that the client says. In all other sessions a rule acts as it does without that
// set, or not at all. See Dialogue.Products. A product that a reply has told is
// remembered of the server for a day, and counts in later sessions from the greeting
// on, unless that has changed. An EHLO reply without the sign ends this for its session.
//
// # Observing
//
// Rules of Policy.Observed are computed and never act: both sides get what they get
// without these rules, to the octet. At each stage the rules run on the line, the
// reply or the message as it came, each on what the rules before it would have left;
// what they make of it is told to a Witness, and thrown away. What cannot be seen so
// can only be guessed, or not at all:
//
//   - what comes of a departure: how the server would have answered a line that was
//     not said, said again, or said first, and what other rules would have made of that;
//   - the rest of an AUTH exchange that a rule would have answered or changed;
//   - Opening: whether a client is silent because it waits for a greeting in clear;
//   - a server that is silent: a rule that would give it less time is told of once the
//     route's own time is over;
//   - octets that are no reply: the session ends at once, as without the rule, and what
//     would have followed is not seen;
//   - what rules learn of a server is kept for observed rules alone.
//
// # Logins
//
// Under a [Policy] with [Logins] a client's AUTH ends here, and the engine logs in at the
// server, inside verified TLS only, before the first MAIL goes there. What the server
// offers for logins is replaced before any rule sees it, so that rules act on what we
// take. What may take a while is done while [AwaitWork] is next. A MAIL names the sender
// that the login has, whoever says it and however often.
//
// # What the engine checks
//
// After each rule the engine checks what it did. If that cannot be, or the rule
// panics, what it did is taken back and [Listener.Broke] is called; the other
// rules go on. In a message of which a part has gone out already, the message is
// refused instead. The checks are:
//
//   - A line has no CR, LF or NUL, is not empty unless it was, and is no longer
//     than 4,094 octets (12,286 in an AUTH exchange) unless it was.
//   - No rule has said first, or makes of another command, what carries octets
//     that are not lines, swaps the roles, has the server trust us, or is not to be
//     said yet, for want of TLS, XCLIENT or EHLO.
//   - A command keeps its kind, or the reply to one would answer another: MAIL,
//     RCPT and DATA stay what they are, EHLO may become HELO, and one spelling of
//     AUTH another. The same holds for what is said again.
//   - A refusal stays one, and may become temporary. A 3xx keeps its code, and so
//     does the 220 to STARTTLS. A yes to MAIL, RCPT or a finished message stays a
//     yes. No rule answers MAIL, RCPT, DATA, BDAT or STARTTLS with a yes, nor EHLO
//     before the server has accepted one, nor EHLO and RSET in a transaction
//     unless RSET is said first.
//   - A repair makes one reply of one while several are awaited, and drops none
//     that is awaited.
//   - A rule asks at each stage for what the stage has: a line is said first, or
//     held, before it is said; it is said again once its reply is there.
//   - Nothing is said again that could be done twice: only EHLO, HELO, STARTTLS,
//     AUTH before its first 334, and the first MAIL of a session; and in another
//     form MAIL, RCPT, DATA, RSET and NOOP whose form the server has refused (500,
//     501, 502, 504, 553, 554, 555). A turn may say four lines first, four again,
//     and make two fresh connections.
//   - The text of a message has no bare CR, bare LF or NUL, no line of one dot,
//     and ends with CRLF.
//   - An exchange that a rule ends is cancelled at a server that waits for a SASL
//     line.
//
// Behind the rules the engine makes the EHLO reply true of the session: see
// [Policy].
package rewrite
