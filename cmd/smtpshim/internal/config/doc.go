// Package config reads the configuration: a TOML file and the files that it includes. It
// contains everything that is known about these files: the keys, their defaults, what is
// wrong, on which line, and what would be right, and what is probably a mistake. It starts
// nothing and prints nothing: commands decide what they do with a [Config].
//
// Read the files of the package in this order:
//
//   - config.go: [Config], [Read], and the keys at the top of the file. The functions that
//     read the keys are the schema: a key that none of them asks for is unknown.
//   - table.go: the methods that return the value of a key, or its default, and collect
//     [Mistakes]. follows.go removes mistakes that follow from others. hints.go finds what
//     was probably meant.
//   - syntax.go, syntax_words.go, keylines.go: the text of the file: errors of syntax in
//     plain words, and the line of each key.
//   - route.go: [Route], with its limits and timeouts. Each table in it has a file:
//     rules.go and replace.go, tls.go with certificates.go and weak.go, servers.go,
//     network.go, xclient.go, login.go, record.go.
//   - account.go: [Account]. admin.go: the admin listener. address.go: addresses.
//     include.go: included files.
//   - files.go, places.go: the files that the configuration names: credentials of systemd,
//     and what a program has to reach that has locked itself in.
//   - warnings.go, secrets.go: probable mistakes, which "check -strict" counts.
//   - edit.go: changes to lines of a file.
//
// The directory testdata has files with mistakes, and the messages about them.
package config
