package main

import (
	"fmt"
	"io"
	"strings"

	"smtpshim/metrics"
	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/vocabulary"
)

// signMeans describes the signs of products for people.
var signMeans = map[vocabulary.Sign]string{
	vocabulary.SignGreeting:   "its greeting",
	vocabulary.SignEHLO:       "its EHLO reply",
	vocabulary.SignHELP:       "its HELP reply",
	vocabulary.SignRemembered: "an earlier session",
	vocabulary.SignCommand:    "the client's command",
}

// countedProducts returns the products that are looked for, for the metrics.
func countedProducts(rules *rewrite.Rules) (list []metrics.Product) {
	for _, p := range rules.Shown() {
		list = append(list, metrics.Product(p))
	}
	return list
}

// productMeans describes the sign of a product and the purpose of its set.
func productMeans(p rewrite.Product) string {
	for _, s := range heal.Sets() {
		if s.Name == p.Name {
			return fmt.Sprintf("%s, by %s: %s", p.Name, signMeans[p.By], s.Doc)
		}
	}
	return p.Name + ", by " + signMeans[p.By]
}

// printSigns prints the signs of a set's product, and the products that the set looks
// for.
func printSigns(w io.Writer, s rewrite.Set) {
	shows := []struct{ in, pattern string }{{"greeting", s.Signs.Greeting}, {"EHLO reply", s.Signs.Offer}, {"HELP reply", s.Signs.Help}}
	if s.Signs != (rewrite.Signs{}) {
		fmt.Fprint(w, "\nThe product shows in:\n\n")
	}
	for _, sign := range shows {
		if sign.pattern != "" {
			entry(w, 2, sign.in, 22, sign.pattern)
		}
	}
	if s.Signs.Says != 0 {
		entry(w, 2, "client's command", 22, s.Signs.Says.String())
	}
	if why := heal.Untold()[s.Name]; why != "" {
		fmt.Fprintln(w)
		entry(w, 0, "", 0, notByAuto(why))
	}
	if len(s.Products) > 0 {
		fmt.Fprint(w, "\nProducts, whose sets act in sessions that show them:\n\n")
		entry(w, 2, "", 2, strings.Join(s.Products, ", "))
	}
}

// notByAuto describes why auto does not look for a set.
func notByAuto(why string) string {
	return "rules = [\"auto\"] does not look for it: " + why + ". Name the set where such a product is."
}
