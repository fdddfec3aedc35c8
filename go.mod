module smtpshim

go 1.26
