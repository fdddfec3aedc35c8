// Command go-smtp sends the zoo's message with github.com/emersion/go-smtp.
package main

import (
	"log"
	"os"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

func main() {
	if err := send(); err != nil {
		log.Fatal(err)
	}
}

func send() error {
	text, err := os.Open(os.Getenv("ZOO_MESSAGE"))
	if err != nil {
		return err
	}
	client, err := smtp.Dial(os.Getenv("ZOO_HOST") + ":" + os.Getenv("ZOO_PORT"))
	if err != nil {
		return err
	}
	defer client.Close()
	if user := os.Getenv("ZOO_USER"); user != "" {
		if err := client.Auth(sasl.NewLoginClient(user, os.Getenv("ZOO_PASSWORD"))); err != nil {
			return err
		}
	}
	if err := client.SendMail(os.Getenv("ZOO_FROM"), []string{os.Getenv("ZOO_TO1"), os.Getenv("ZOO_TO2")}, text); err != nil {
		return err
	}
	return client.Quit()
}
