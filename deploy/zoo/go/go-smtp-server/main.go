// Command go-smtp-server takes mail with github.com/emersion/go-smtp.
package main

import (
	"io"
	"log"
	"os"

	"github.com/emersion/go-smtp"
)

type backend struct{}

func (backend) NewSession(*smtp.Conn) (smtp.Session, error) { return session{}, nil }

type session struct{}

func (session) Mail(string, *smtp.MailOptions) error { return nil }
func (session) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (session) Reset()                               {}
func (session) Logout() error                        { return nil }

func (session) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

func main() {
	s := smtp.NewServer(backend{})
	s.Addr = "127.0.0.1:" + os.Getenv("ZOO_PORT")
	s.Domain = "zoo.example.com"
	s.MaxMessageBytes = 64 << 20
	s.MaxRecipients = 1000
	s.AllowInsecureAuth = true
	s.EnableSMTPUTF8 = true
	log.Fatal(s.ListenAndServe())
}
