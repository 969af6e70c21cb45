package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestMessageFilesOfTheExamplesSucceed(t *testing.T) {
	f := fleetOfTwo(t)
	files, err := filepath.Glob(filepath.Join(repository(t), "examples/messages/*.yaml"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%d message files (%v)", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			out, _ := fairlead(t, f.env(), 0, "publish", "-f", file, "--wait")
			for line := range strings.Lines(out) {
				if !strings.Contains(line, "succeeded") && !strings.Contains(line, "superseded") {
					t.Errorf("%s", line)
				}
			}
		})
	}
}
