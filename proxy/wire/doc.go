// Package wire holds connections: it accepts, connects, reads, writes and waits, and
// runs the sessions that do so. It knows nothing of SMTP.
package wire
