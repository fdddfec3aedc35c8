package heal

import "smtpshim/rewrite"

// blanks are what lenient servers take for a blank in a command.
const blanks = " \t\v\f"

var hellos = rewrite.SetOf(rewrite.VerbEHLO, rewrite.VerbHELO, rewrite.VerbLHLO)

// logins is the set of verbs that carry a password, in the command or in the lines after
// it.
var logins = rewrite.SetOf(rewrite.VerbAUTH, rewrite.VerbXAUTH, rewrite.VerbXEXPS)

// dayLong is the number of seconds, one day, for which a rule remembers what it has
// learned about a server.
const dayLong = 24 * 60 * 60

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
