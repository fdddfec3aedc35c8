package servers

import (
	"testing"
	"time"
)

func TestAFailureThatIsKnownDoesNotCountAgain(t *testing.T) {
	began := time.Now()
	for _, test := range []struct {
		began, failed time.Duration // of the second attempt; the first fails after 10s
		rest          time.Duration
	}{
		{0, 10 * time.Second, 0},
		{5 * time.Second, time.Hour, 0}, // it has waited for a greeting all the time
		{10 * time.Second, time.Hour, 0},
		{20 * time.Second, 21 * time.Second, 0}, // as all servers rest
		{20 * time.Second, 40 * time.Second, 2 * FirstRest},
		{40 * time.Second, 41 * time.Second, 2 * FirstRest},
	} {
		var f Fleet
		a := f.Join([]string{"a"}, false)[0]
		if rest := f.Fails(a, began, began.Add(10*time.Second)); rest != FirstRest {
			t.Fatalf("left alone for %v", rest)
		}
		if rest := f.Fails(a, began.Add(test.began), began.Add(test.failed)); rest != test.rest {
			t.Errorf("%+v: left alone for %v", test, rest)
		}
	}
}
