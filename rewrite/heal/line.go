package heal

import "smtpshim/rewrite"

// blanks are what lenient servers take for a blank in a command.
const blanks = " \t\v\f"

var hellos = rewrite.SetOf(rewrite.VerbEHLO, rewrite.VerbHELO, rewrite.VerbLHLO)

// logins are the verbs that have a password in them, or in the lines that follow.
var logins = rewrite.SetOf(rewrite.VerbAUTH, rewrite.VerbXAUTH, rewrite.VerbXEXPS)

// dayLong is for how many seconds a rule remembers what it has learned of a server.
const dayLong = 24 * 60 * 60

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
