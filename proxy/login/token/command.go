package token

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// commandDelay is how long a program that was killed, or that has left its output
// to a child, may take to end.
const commandDelay = time.Second

// A bounded buffer takes as many octets as a reply of an endpoint may have. It
// does not embed the buffer, whose ReadFrom has no bound.
type bounded struct {
	text bytes.Buffer
	over bool // there was more
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.text.Len()+len(p) > maxReply {
		b.over = true
		return 0, errLong
	}
	return b.text.Write(p)
}

var errLong = fmt.Errorf("it prints more than %d octets", maxReply)

// commanded runs the account's program, which prints a token, or JSON with
// access_token and expires_in. Its other output and its arguments are not
// repeated: either may hold a secret.
func (s *Source) commanded(ctx context.Context) (grant, *Error) {
	ctx, cancel := context.WithTimeout(ctx, s.settings.CommandTimeout)
	defer cancel()
	var out bounded
	c := exec.CommandContext(ctx, s.settings.Command[0], s.settings.Command[1:]...)
	c.Stdout = &out
	c.WaitDelay = commandDelay
	withChildren(c)
	err := c.Run()
	var exit *exec.ExitError
	switch {
	case s.ctx.Err() != nil:
		return grant{}, s.settings.fault(Closed, nil)
	case ctx.Err() != nil:
		err = fmt.Errorf("it did not end within %v: %w", s.settings.CommandTimeout, ctx.Err())
	case out.over: // the error may be that of the broken pipe
		err = errLong
	case errors.As(err, &exit):
		err = fmt.Errorf("%v; run it by hand to see why", exit)
	case err == nil:
		var got grant
		if got, err = printed(out.text.String()); err == nil {
			return got, nil
		}
	}
	return grant{}, s.settings.fault(Local, fmt.Errorf("run %q: %w", s.settings.Command[0], err))
}

// printed reads what a program has printed. Of the ways to say when the token
// ends it knows expires_in alone: a point in time depends on the clock.
func printed(text string) (grant, error) {
	text = strings.TrimSpace(text)
	got := grant{access: text}
	if strings.HasPrefix(text, "{") {
		var reply struct {
			Access string `json:"access_token"`
			Type   string `json:"token_type"`
			Life   any    `json:"expires_in"`
		}
		if err := json.Unmarshal([]byte(text), &reply); err != nil {
			return grant{}, errors.New("what it prints begins as JSON and is none")
		}
		if reply.Access == "" {
			return grant{}, errors.New("the JSON that it prints has no access_token")
		}
		got.access = reply.Access
		if got.life, got.known = seconds(reply.Life); !got.known && reply.Life != nil {
			return grant{}, errors.New("expires_in of the JSON that it prints is not a number of seconds")
		}
		if err := usable(reply.Access, reply.Type); err != nil {
			return grant{}, err
		}
		return got, nil
	}
	if text == "" {
		return grant{}, errors.New("it prints nothing")
	}
	return got, usable(text, "")
}

// seconds reads a number of seconds, which some write as a string.
func seconds(v any) (time.Duration, bool) {
	n, ok := v.(float64)
	if text, isText := v.(string); isText {
		var err error
		n, err = strconv.ParseFloat(text, 64)
		ok = err == nil
	}
	if !ok || math.IsNaN(n) {
		return 0, false
	}
	return time.Duration(min(max(n, 0), math.MaxInt32)) * time.Second, true
}
