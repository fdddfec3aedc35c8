package proxy

import "testing"

// Chunks pass by their count: where messages are looked into there must be none.
func TestChunksAreNotOfferedWhereMessagesAreLookedInto(t *testing.T) {
	for _, test := range []struct {
		route Route
		want  bool
	}{
		{Route{}, true},
		{Route{HideChunking: true}, false},
		{Route{Message: Message{StrayBytes: StrayRefuse}}, false},
		{Route{Message: Message{LongLines: LongFold}}, false},
		{Route{Message: Message{LongLines: LongRefuse}}, false},
	} {
		if got := newRunning(&test.route, "relay.example.com").policy.Chunking; got != test.want {
			t.Errorf("%+v: chunking %v, want %v", test.route.Message, got, test.want)
		}
	}
}
