package bench_test

import (
	"os"
	"testing"

	"fairlead/pkg/host/hosttest"
)

func TestMain(m *testing.M) {
	code := hosttest.Run(m.Run)
	if programDir != "" {
		_ = os.RemoveAll(programDir)
	}
	os.Exit(code)
}
