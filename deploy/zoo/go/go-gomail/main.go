// Command go-gomail sends the zoo's message with gopkg.in/gomail.v2.
package main

import (
	"log"
	"os"
	"strconv"

	"gopkg.in/gomail.v2"
)

func main() {
	port, err := strconv.Atoi(os.Getenv("ZOO_PORT"))
	if err != nil {
		log.Fatal(err)
	}
	m := gomail.NewMessage()
	m.SetHeader("From", os.Getenv("ZOO_FROM"))
	m.SetHeader("To", os.Getenv("ZOO_TO1"), os.Getenv("ZOO_TO2"))
	m.SetBody("text/plain", "one\r\n.two\r\n..three\r\n")
	d := gomail.Dialer{Host: os.Getenv("ZOO_HOST"), Port: port, Username: os.Getenv("ZOO_USER"), Password: os.Getenv("ZOO_PASSWORD")}
	if err := d.DialAndSend(m); err != nil {
		log.Fatal(err)
	}
}
