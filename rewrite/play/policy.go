package play

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/transcript"
)

// Policy returns the policy that the rules, options and settings of f describe. It
// reads the settings client_tls, server_tls, auth_in_clear, verified, xclient,
// xclient_from, chunking, message_size, recipients, messages, idle and afresh, and
// ignores others. The error is not nil if a rule, an option or one of these settings is
// wrong.
func Policy(f *transcript.File) (*rewrite.Policy, error) {
	names := f.Rules
	if f.Settings["chunking"] == "hide" {
		names = append(slices.Clone(names), "chunking")
	}
	rules, errs := heal.Compile(names, f.Options)
	if errs != nil {
		return nil, errs[0]
	}
	policy := &rewrite.Policy{Rules: rules, Hostname: "relay.example.com", Limits: rewrite.Limits{Errors: 20}}
	policy.Afresh = f.Settings["afresh"] == "yes"
	policy.VerifiesServer = f.Settings["verified"] == "yes"
	settings := settingsOf(policy)
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		if v := f.Settings[key]; v != "" {
			if err := settings[key](v); err != nil {
				return nil, fmt.Errorf("the setting %s = %q: %w", key, v, err)
			}
		}
	}
	return policy, nil
}

// settingsOf returns, for each setting of a policy, the function that sets it.
func settingsOf(policy *rewrite.Policy) map[string]func(string) error {
	number := func(to any) func(string) error {
		return func(v string) error { _, err := fmt.Sscan(v, to); return err }
	}
	return map[string]func(string) error{
		"idle":          number(&policy.Limits.Idle),
		"recipients":    number(&policy.Limits.Recipients),
		"messages":      number(&policy.Limits.Messages),
		"message_size":  number(&policy.Limits.MessageSize),
		"client_tls":    func(v string) error { return policy.ClientTLS.UnmarshalText([]byte(v)) },
		"server_tls":    func(v string) error { return policy.ServerTLS.UnmarshalText([]byte(v)) },
		"auth_in_clear": func(v string) error { return policy.ClearLogin.UnmarshalText([]byte(v)) },
		"xclient":       func(v string) error { return policy.XCLIENT.UnmarshalText([]byte(v)) },
		"xclient_from": func(v string) error {
			network, err := rewrite.ParseNetwork(v)
			policy.XCLIENTFrom = []netip.Prefix{network}
			return err
		},
	}
}

// Client returns the address of the client in f: the setting client, or 192.0.2.7 if that
// is missing or cannot be parsed.
func Client(f *transcript.File) netip.Addr {
	if client, err := netip.ParseAddr(f.Settings["client"]); err == nil {
		return client
	}
	return netip.MustParseAddr("192.0.2.7")
}

// destination returns the address to which a file's client has connected.
func destination(f *transcript.File) netip.AddrPort {
	if Client(f).Is6() {
		return netip.MustParseAddrPort("[::1]:25")
	}
	return netip.MustParseAddrPort("127.0.0.1:25")
}
