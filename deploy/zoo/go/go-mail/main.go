// Command go-mail sends the zoo's message with github.com/wneessen/go-mail.
package main

import (
	"log"
	"os"
	"strconv"
	"time"

	"github.com/wneessen/go-mail"
)

func main() {
	if err := send(); err != nil {
		log.Fatal(err)
	}
}

func send() error {
	port, err := strconv.Atoi(os.Getenv("ZOO_PORT"))
	if err != nil {
		return err
	}
	options := []mail.Option{mail.WithPort(port), mail.WithTLSPolicy(mail.NoTLS), mail.WithTimeout(8 * time.Second)}
	if user := os.Getenv("ZOO_USER"); user != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthLoginNoEnc), mail.WithUsername(user), mail.WithPassword(os.Getenv("ZOO_PASSWORD")))
	}
	client, err := mail.NewClient(os.Getenv("ZOO_HOST"), options...)
	if err != nil {
		return err
	}
	m := mail.NewMsg()
	if err := m.From(os.Getenv("ZOO_FROM")); err != nil {
		return err
	}
	if err := m.To(os.Getenv("ZOO_TO1"), os.Getenv("ZOO_TO2")); err != nil {
		return err
	}
	m.Subject("zoo")
	m.SetDateWithValue(time.Unix(1700000000, 0))
	m.SetMessageIDWithValue("zoo@example.com")
	m.SetBodyString(mail.TypeTextPlain, "one\r\n.two\r\n..three\r\n")
	return client.DialAndSend(m)
}
