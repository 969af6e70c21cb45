package host_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"fairlead/pkg/host"
)

// What is free goes back to the system, although nothing asks for memory.
func TestACalmProcessGivesFreeMemoryBack(t *testing.T) {
	const size = 64 << 20
	inUse := func() uint64 { // of the heap, and not given back
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapSys - m.HeapReleased
	}
	garbage := make([]byte, size)
	for i := range garbage {
		garbage[i] = 1
	}
	with := inUse()
	runtime.KeepAlive(garbage)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan struct{})
	go func() {
		host.TrimWhileCalm(ctx, 50*time.Millisecond)
		close(done)
	}()
	for inUse() > with-size/2 {
		if ctx.Err() != nil {
			t.Fatalf("%d of %d bytes are kept", inUse(), with)
		}
		runtime.Gosched()
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
	cancel()
	<-done
}
