package proxy

import (
	"net/mail"
	"testing"
	"time"
)

func TestAStampIsADateAndAWordThatNobodyElseHas(t *testing.T) {
	date, word := stamp()
	when, err := mail.ParseDate(date)
	if age := time.Since(when); err != nil || age < 0 || age > time.Minute {
		t.Errorf("the date is %q: %v old, %v", date, age, err)
	}
	if _, again := stamp(); len(word) < 20 || again == word {
		t.Errorf("the words are %q and %q", word, again)
	}
}
