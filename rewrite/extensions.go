package rewrite

import (
	"slices"
	"strings"
)

// Extensions are the keywords of an EHLO reply with their parameters, in the order of
// the reply (RFC 5321, 4.1.1.1). Names of keywords ignore case. A line that no method
// changes keeps its spelling: "AUTH=LOGIN" is the keyword AUTH with the parameter
// LOGIN, and stays "AUTH=LOGIN".
//
// The zero Extensions are empty, and changes to them have no effect. Those of
// [Session.Server] and [Session.Shown] are only for reading: changes to them have no
// effect either.
type Extensions struct {
	reply *Reply // its lines after the first are the keywords
	said  bool   // for reading only: changes have no effect
}

// changing returns the keyword lines, or nil if they must not be changed.
func (e Extensions) changing() []string {
	if e.said {
		return nil
	}
	return e.lines()
}

// lines returns the keyword lines.
func (e Extensions) lines() []string {
	if e.reply == nil || len(e.reply.Lines) < 2 {
		return nil
	}
	return e.reply.Lines[1:]
}

// Lines returns a copy of the keyword lines of e, without code and separator.
func (e Extensions) Lines() []string { return slices.Clone(e.lines()) }

// Has reports whether e has the keyword name with all of params, ignoring case. The
// params may be spread over several lines with that keyword.
func (e Extensions) Has(name string, params ...string) bool {
	found := false
	for _, line := range e.lines() {
		found = found || isKeyword(line, name)
	}
	for _, p := range params {
		found = found && e.hasParam(name, p)
	}
	return found
}

// hasParam reports whether a line with the keyword name has the parameter param.
func (e Extensions) hasParam(name, param string) bool {
	for _, line := range e.lines() {
		if !isKeyword(line, name) {
			continue
		}
		for p := range strings.FieldsFuncSeq(line[len(name):], isSeparator) {
			if strings.EqualFold(p, param) {
				return true
			}
		}
	}
	return false
}

// Params returns the parameters of the keyword name, from all lines with that keyword, in
// order.
func (e Extensions) Params(name string) []string {
	var all []string
	for _, line := range e.lines() {
		if isKeyword(line, name) {
			_, params := cutKeyword(line)
			all = append(all, strings.Fields(params)...)
		}
	}
	return all
}

// Add appends lines, each a keyword with its parameters. If the last line of the reply
// is the word OK, as Windows' SMTP service sends it (KB257569), Add inserts lines
// before it.
func (e Extensions) Add(lines ...string) {
	if e.reply == nil || e.said {
		return
	}
	at := len(e.reply.Lines)
	if at > 1 && strings.EqualFold(e.reply.Lines[at-1], "OK") {
		at--
	}
	e.reply.Lines = append(e.reply.Lines[:at:at], append(slices.Clone(lines), e.reply.Lines[at:]...)...)
}

// Extend appends a blank and param to the first line that begins with spelling and goes
// on after it. spelling is a keyword with its separator, such as "AUTH " or "AUTH=".
// The result is false if there is no such line.
func (e Extensions) Extend(spelling, param string) bool {
	for i, line := range e.changing() {
		if len(line) > len(spelling) && strings.EqualFold(line[:len(spelling)], spelling) {
			e.lines()[i] = line + " " + param
			return true
		}
	}
	return false
}

// Drop removes all lines whose keyword is one of names.
func (e Extensions) Drop(names ...string) {
	e.DropFunc(func(name, _ string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
	})
}

// DropFunc calls the function drop for each line and removes the line if the result is
// true. name is the keyword of the line in upper case, and params is what follows the
// separator, as spelled.
func (e Extensions) DropFunc(drop func(name, params string) bool) {
	lines := e.changing()
	if len(lines) == 0 {
		return
	}
	left := slices.DeleteFunc(lines, func(line string) bool {
		name, params := cutKeyword(line)
		return drop(upperASCII(name), params)
	})
	e.reply.Lines = e.reply.Lines[:1+len(left)]
}

// Rename replaces the last line whose keyword is old. The new line is name alone,
// without parameters, and the result is true. If no line has the keyword old, or one
// already has the keyword name, Rename changes nothing and returns false.
func (e Extensions) Rename(old, name string) bool {
	if e.Has(name) {
		return false
	}
	for i, line := range slices.Backward(e.changing()) {
		if isKeyword(line, old) {
			e.lines()[i] = name
			return true
		}
	}
	return false
}

// Set changes each line whose keyword is name: the keyword is then followed by a blank
// and params, in place of what followed it. If params is "", the keyword stands alone.
// Set adds no line.
func (e Extensions) Set(name, params string) {
	for i, line := range e.changing() {
		if isKeyword(line, name) {
			e.lines()[i] = strings.TrimRight(line[:len(name)]+" "+params, " ")
		}
	}
}

// Place moves the first line with the keyword name, so that at is its index among the
// keyword lines, counted from 0. The result is false if there is no such line.
func (e Extensions) Place(name string, at int) bool {
	lines := e.changing()
	from := slices.IndexFunc(lines, func(line string) bool { return isKeyword(line, name) })
	if from < 0 {
		return false
	}
	at = min(max(at, 0), len(lines)-1)
	line := lines[from]
	if from < at {
		copy(lines[from:at], lines[from+1:at+1])
	} else {
		copy(lines[at+1:from+1], lines[at:from])
	}
	lines[at] = line
	return true
}

// isKeyword reports whether name is the keyword of a line.
func isKeyword(line, name string) bool {
	n := len(name)
	return len(line) >= n && n > 0 && line[0]|' ' == name[0]|' ' && // most lines differ in the first letter
		strings.EqualFold(line[:n], name) && (len(line) == n || isSeparator(rune(line[n])))
}

// isSeparator reports whether c may follow a keyword. "AUTH=LOGIN" is an old form.
func isSeparator(c rune) bool { return c == ' ' || c == '=' || c == '\t' }

// cutKeyword splits a line into its keyword, as it is spelled, and its parameters. For
// "auth=LOGIN NTLM" these are "auth" and "LOGIN NTLM".
func cutKeyword(line string) (name, params string) {
	end := 0
	for end < len(line) && line[end] != ' ' && line[end] != '=' && line[end] != '\t' {
		end++
	}
	if end < len(line) {
		params = strings.TrimSpace(line[end+1:])
	}
	return line[:end], params
}

// keywords is the set of keywords on which the engine itself acts.
type keywords uint8

const (
	offersSTARTTLS keywords = 1 << iota
	offersPIPELINING
	offersCHUNKING
	offersSIZE
	offersLIMITS
	offersREQUIRETLS
	offersLogin     // AUTH, XAUTH or X-EXPS
	offersUncarried // a keyword that dropUncarried may remove
)

// known returns the keywords on which the engine acts.
func (e Extensions) known() (k keywords) {
	for _, line := range e.lines() {
		name, _ := cutKeyword(line)
		var word [maxVerb]byte
		switch string(upper(word[:], name)) {
		case "STARTTLS":
			k |= offersSTARTTLS
		case "PIPELINING":
			k |= offersPIPELINING
		case "CHUNKING":
			k |= offersCHUNKING
		case "SIZE":
			k |= offersSIZE
		case "LIMITS":
			k |= offersLIMITS
		case "REQUIRETLS":
			k |= offersREQUIRETLS
		case "AUTH", "XAUTH", "X-EXPS":
			k |= offersLogin
		case "TURN", "ATRN", "XCLIENT", "XFORWARD", "PROXY", "XEXCH50", "X-LINK2STATE", "X-ANONYMOUSTLS":
			k |= offersUncarried
		}
	}
	return k
}

// upperASCII returns a word in upper case. It leaves letters beyond ASCII unchanged: the
// long s is not an S in a keyword.
func upperASCII(word string) string {
	if !hasLower(word) {
		return word
	}
	return strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' {
			return c - 'a' + 'A'
		}
		return c
	}, word)
}

func hasLower(word string) bool {
	for i := range len(word) {
		if 'a' <= word[i] && word[i] <= 'z' {
			return true
		}
	}
	return false
}

// upper writes word in upper case to room and returns it; "" if room is too small.
func upper(room []byte, word string) []byte {
	if len(word) > len(room) {
		return nil
	}
	for i := range len(word) {
		c := word[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		room[i] = c
	}
	return room[:len(word)]
}
