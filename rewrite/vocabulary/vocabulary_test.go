package vocabulary

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

func words[T ~string](list []T) []string {
	var texts []string
	for _, word := range list {
		texts = append(texts, string(word))
	}
	return texts
}

// TestEveryConstantIsInTheListOfItsType reads the constants from the source.
func TestEveryConstantIsInTheListOfItsType(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "vocabulary.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string][]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && spec.Type != nil {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			kind := spec.Type.(*ast.Ident).Name
			declared[kind] = append(declared[kind], text)
		}
		return true
	})
	lists := map[string][]string{
		"Outcome": words(Outcomes()), "Rejection": words(Rejections()), "Limit": words(Limits()), "MessageOutcome": words(MessageOutcomes()),
		"ServerFailure": words(ServerFailures()), "BadReply": words(BadReplies()), "Side": words(Sides()), "Safeguard": words(Safeguards()), "Cause": words(Causes()),
		"LoginOutcome": words(LoginOutcomes()), "TokenOutcome": words(TokenOutcomes()),
		"Mechanism": words(Mechanisms()), "AuthOutcome": words(AuthOutcomes()), "Sign": words(Signs()),
	}
	if len(declared) != len(lists) {
		t.Errorf("%d types have constants, %d have a list", len(declared), len(lists))
	}
	for kind, list := range lists {
		if !slices.Equal(declared[kind], list) {
			t.Errorf("%s: the constants are %q, the list is %q", kind, declared[kind], list)
		}
	}
}

func TestOutcomesAreChosenByName(t *testing.T) {
	for _, test := range []struct {
		outcome Outcome
		name    string
		want    bool
	}{
		{OutcomeOK, "", true}, {OutcomeRefused, "", true}, {OutcomeRefused, "refused", true}, {OutcomeOK, "refused", false},
		{OutcomeRefused, AnyFailed, true}, {OutcomeServerLost, AnyFailed, true}, {OutcomeOK, AnyFailed, false}, {OutcomeOK, "nonsense", false},
	} {
		if got := test.outcome.Named(test.name); got != test.want {
			t.Errorf("%q chooses %s: %v", test.name, test.outcome, got)
		}
	}
}

func TestOnlyTheseOutcomesNeedNobodysAttention(t *testing.T) {
	var fine []Outcome
	for _, o := range Outcomes() {
		if !o.Failed() {
			fine = append(fine, o)
		}
	}
	if want := []Outcome{OutcomeOK, OutcomeSilent, OutcomeDrained, OutcomeOpaque}; !slices.Equal(fine, want) {
		t.Errorf("%q, want %q", fine, want)
	}
}
