// Package config reads the configuration: a TOML file and the files that it includes. It
// knows the keys and their defaults. It reports mistakes, each with its line and with
// what would be right, and warns of probable mistakes. It starts nothing and prints
// nothing: commands decide what they do with a [Config].
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
//   - files.go: paths of the files that the configuration names, such as credentials of
//     systemd. places.go: what the program can still reach after it has restricted
//     itself (lock_in).
//   - warnings.go, secrets.go: probable mistakes, which "check -strict" counts.
//   - edit.go: changes to lines of a file.
//
// The directory testdata has files with mistakes, and the messages about them.
package config
