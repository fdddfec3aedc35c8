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

// commandDelay is the time in which a program must end after it was killed, or after it
// has left its output to a child.
const commandDelay = time.Second

// A bounded is a buffer for as many octets as the reply of an endpoint may have. It does
// not embed the bytes.Buffer, whose ReadFrom is unbounded.
type bounded struct {
	text bytes.Buffer
	over bool // more octets were written than fit
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.text.Len()+len(p) > maxReply {
		b.over = true
		return 0, errLong
	}
	return b.text.Write(p)
}

var errLong = fmt.Errorf("it prints more than %d octets", maxReply)

// commanded runs the account's program, which prints a token, or JSON with access_token
// and expires_in. Errors repeat neither its other output nor its arguments, because both
// may contain a secret.
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
	case out.over: // err may be due to the broken pipe
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

// printed parses the output of a program. Of the ways to tell the end of a token it
// supports only expires_in, because a point in time would depend on the clock.
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

// seconds parses a number of seconds, which some programs write as a string.
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
