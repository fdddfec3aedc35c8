//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// A Kept has the results for one peer. It is a line of JSON in a file of results.
type Kept struct {
	Half, Peer string
	Results    []Result
}

// A keeper adds to a file what each peer came to, as soon as it is done. A run that
// names the file again takes what it has from there: a run of everything takes an hour,
// and may be interrupted.
type keeper struct {
	file *os.File
	had  map[[2]string][]Result
}

// openKeeper reads a file of results, which need not exist.
func openKeeper(name string) (*keeper, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	k := &keeper{file: f, had: map[[2]string][]Result{}}
	for d := json.NewDecoder(f); ; {
		var kept Kept
		switch err := d.Decode(&kept); {
		case errors.Is(err, io.EOF):
			return k, nil
		case err != nil:
			return nil, fmt.Errorf("reading results from %s: %w; delete it to begin anew", name, err)
		}
		k.had[[2]string{kept.Half, kept.Peer}] = kept.Results
	}
}

// keep adds the results of a peer.
func (k *keeper) keep(half, peer string, results []Result) error {
	line, err := json.Marshal(Kept{half, peer, results})
	if err != nil {
		return err
	}
	_, err = k.file.Write(append(line, '\n'))
	return err
}
