// Package rewrite is the engine: it decides what the proxy sends to the client and to the
// server. It implements the dialogue of SMTP and runs rules that change it. It does no
// I/O, and uses no clock and no log. The rules themselves are in package heal.
//
// A [Dialogue] is one session, as a state machine. Its caller passes it the client's
// commands, the server's replies and the events of both connections. The dialogue says
// which octets to write ([Dialogue.ToServer], [Dialogue.ToClient]) and what to wait for
// next ([Dialogue.Next]).
//
// In the comments of this package, "we" are the proxy, a hello is EHLO, HELO or LHLO, a
// yes is a positive reply (2xx, or 3xx where one is due), and a refusal is a 4xx or 5xx
// reply. A turn is a command with its reply. It is held if nothing else is sent until the
// client has the reply.
//
// # Stages
//
// A [Rule] is a row of a table: a name, texts for people, options, and functions for the
// stages that it wants ([Actions]). A session passes these stages:
//
//   - First octets ([Opening]): the client has not been greeted yet. A rule may start a
//     TLS handshake, go on in clear where TLS is due, or wait up to five seconds for the
//     client's first octets.
//   - Line: the octets that the client sent up to an LF are not a well-formed line,
//     because they do not end with CRLF, or contain a CR, LF or NUL; or they are a BDAT
//     whose argument cannot be parsed. A rule may return the line that is meant, without
//     its line end. The result must be a line, and no longer than what the client sent.
//   - Reply repair ([Repair]): the octets that the server sent are not exactly the
//     replies that are due, or begin with a reply that may not be what it seems, such
//     as a 221 to MAIL. A rule may replace the octets by one whole reply, or drop them.
//     The class of the new reply is never better than that of the worst code in the
//     octets. Only octets without a code, and a yes that answers nothing, may be
//     dropped.
//   - Offer ([Extensions]): the server has answered EHLO. What a rule changes counts as
//     what the server has offered, for the engine, for other rules and for the client.
//   - Command ([Turn]): a rule may change the client's command, answer it, send other
//     commands before it, or give the server less time for its reply than the route does.
//   - SASL ([Turn]): a rule may change a line of an AUTH exchange, answer it, also with
//     334, or swallow it. If a rule has answered the AUTH command with 334, the server
//     knows of no exchange yet. Then rules must answer or swallow the line, or make an
//     AUTH command of it; otherwise the client gets 454. Rules do not see "*", which
//     cancels the exchange.
//   - Greeting and reply ([Turn]): a rule may change the reply. In place of passing it
//     on, a rule may send another line, on the same connection or on a fresh one. In
//     place of passing on a 334, a rule may send a SASL line to the server.
//   - Message ([Text], [Filter]): a rule may change the text of the message as it passes,
//     or refuse the message at its end.
//
// Rules run first to last, except on offers, greetings and replies: on these they run
// last to first. Each rule sees the result of the rules that ran before it. A rule that
// has changed something is counted ([Listener.Applied]) when the result is delivered.
//
// # The second EHLO
//
// A client repeats its hello after a TLS handshake and after XCLIENT. If the handshake
// was with us, or we have handled the XCLIENT ourselves, the server sees no reason for
// the second hello on its connection, and may refuse it. If it does, the client gets
// the server's reply to the first hello. A rule may ask for the same in other cases by
// [Turn.Recall]. This is the only case in which a 2xx reply takes the place of a
// refusal: the server has given that reply to a hello on the same connection.
//
// # LMTP
//
// A session whose LHLO was accepted is a session of LMTP (RFC 2033). The server then
// answers the end of a message once for each recipient that it has accepted: see
// [Dialogue.Suffices].
//
// # Products
//
// A [Set] may be for one product, such as one mail server program. It then has [Signs],
// by which a session recognises the product: a sign may be in the greeting, in the
// server's reply to EHLO or HELP, or in a verb that the client says. If another set
// lists this set among its Products, the rules and options of this set apply only in
// sessions that show one of these signs. In all other sessions each rule acts as it
// would without this set. [Dialogue.Products] returns the products that a session has
// recognised.
//
// A product that a reply to EHLO or HELP has shown is remembered for that server for a
// day. A later session starts with what is remembered if the greeting is the same but for
// dates and session numbers. Its EHLO reply then takes the place of what is remembered.
//
// # Observing
//
// The rules of Policy.Observed are computed and never act: both sides get the same
// octets as without these rules. At each stage the observed rules run on the line,
// reply or message as it came, each on the result of the observed rules before it. The
// results are reported to a [Witness] and discarded. What an observed rule remembers
// about a server ([Session.Remember]) is seen by observed rules only. What follows from
// a change cannot be observed:
//
//   - how the server would have answered a line that only the rule would have sent, and
//     what other rules would have made of that reply;
//   - the rest of an AUTH exchange that a rule would have answered or changed;
//   - at the stage Opening: whether a client is silent because it waits for a greeting in
//     clear;
//   - a server that is silent: a rule that would give it less time is reported only when
//     the route's own time has passed;
//   - octets that are not a reply: the session ends at once, as without the rule, and
//     what would have followed is not seen.
//
// # Logins
//
// Under a [Policy] with [Logins], the engine logs in at the server, at the latest
// before it sends the first MAIL. It does so only inside TLS with a verified server.
// Some clients must log in to the proxy first. In the server's EHLO reply, the
// mechanisms that we accept take the place of those that the server offers. This
// happens before any rule sees the reply, so that rules act on the client's login to
// us. Work that may block is done while [AwaitWork] is next. Every MAIL names the
// sender that the login prescribes, whether a client or a rule says it.
//
// # What the engine checks
//
// After each call of a rule the engine checks the result. If the result is not allowed,
// or the rule panics, the engine undoes the change and calls [Listener.Broke]. The other
// rules go on. But if a [Filter] does such a thing, the message is refused, because
// part of it may have been sent. The checks are:
//
//   - A line has no CR, LF or NUL. It is not empty unless it was before. It is no longer
//     than 4,094 octets (12,286 in an AUTH exchange) unless it was before.
//   - A rule must not send certain commands, either before the client's command or in
//     its place. These announce octets that are not lines, swap the roles of client and
//     server, make the server trust us, or must not be sent yet because TLS, XCLIENT or
//     EHLO is missing. Before the client's command, a rule must not send AUTH, STARTTLS
//     or QUIT either.
//   - A command keeps its kind, because its reply would otherwise answer another
//     command. MAIL, RCPT and DATA keep their verbs. A hello may become another hello,
//     and AUTH another spelling of it, such as XAUTH. The same holds for a line that is
//     sent again.
//   - A refusal stays a refusal, and may become temporary. A 3xx keeps its code, and so
//     does the 220 to STARTTLS. A yes to MAIL, RCPT or a finished message stays a yes.
//   - A rule must never answer MAIL, RCPT, DATA, BDAT or STARTTLS with a yes. It may
//     answer a hello with a yes only if a hello of the client was accepted since its
//     last TLS handshake or XCLIENT. In a transaction, it may answer a hello or RSET
//     with a yes only if a rule sends RSET first.
//   - While several replies are awaited, a repair does not merge replies, and drops none
//     that is awaited.
//   - A rule calls only the methods of its stage. Before the client's command is sent,
//     it may hold the turn and send other commands first. Only after the reply may it
//     send a line again.
//   - A line is sent again only if nothing can happen twice. This holds for EHLO, HELO,
//     STARTTLS, AUTH before its first 334, and MAIL while Untouched is true. It also
//     holds for a MAIL, RCPT, DATA, RSET or NOOP whose form the server has refused
//     (500, 501, 502, 504, 553, 554, 555), if it is sent in another form.
//   - In one turn, rules may send four commands first, send four lines again, and make
//     two fresh connections. If they send more lines again, or make more connections,
//     the session ends.
//   - The text of a message has no bare CR, bare LF or NUL, and no line of a single dot.
//     It ends with CRLF.
//   - If a rule ends an AUTH exchange while the server waits for a SASL line, the engine
//     cancels the exchange at the server.
//
// After the rules, the engine adapts the EHLO reply to the session. It removes what the
// proxy cannot pass on, lowers SIZE and LIMITS to our own [Limits], and adds what the
// proxy itself offers.
package rewrite
