package dev_test

import (
	"os"
	"testing"

	"fairlead/pkg/host/hosttest"
)

func TestMain(m *testing.M) { os.Exit(hosttest.Run(m.Run)) }
