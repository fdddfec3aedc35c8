// Command go-stdlib sends the zoo's message with net/smtp.
package main

import (
	"log"
	"net/smtp"
	"os"
)

func main() {
	text, err := os.ReadFile(os.Getenv("ZOO_MESSAGE"))
	if err != nil {
		log.Fatal(err)
	}
	var auth smtp.Auth
	if user := os.Getenv("ZOO_USER"); user != "" {
		auth = smtp.PlainAuth("", user, os.Getenv("ZOO_PASSWORD"), os.Getenv("ZOO_HOST"))
	}
	err = smtp.SendMail(os.Getenv("ZOO_HOST")+":"+os.Getenv("ZOO_PORT"), auth, os.Getenv("ZOO_FROM"),
		[]string{os.Getenv("ZOO_TO1"), os.Getenv("ZOO_TO2")}, text)
	if err != nil {
		log.Fatal(err)
	}
}
