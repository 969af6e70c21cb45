package nginx

import (
	"bytes"
	"fmt"
	"path/filepath"
	"time"
)

// ReadsBack says what is not the same about a version on disk and the bundle
// that it was staged from.
func ReadsBack(dir string, b Bundle) error {
	v, err := readVersion(dir)
	if err != nil {
		return err
	}
	back, err := v.bundle()
	if err != nil {
		return err
	}
	if back.Digest != b.Digest || len(back.Files) != len(b.Files) {
		return fmt.Errorf("%d files with digest %s, want %d and %s", len(back.Files), back.Digest, len(b.Files), b.Digest)
	}
	for i, f := range b.Files {
		same := bytes.Equal(back.Files[i].Content, f.Content) != (filepath.Ext(f.Path) == ".key") // opened
		if back.Files[i].Path != f.Path || back.Files[i].Owner != f.Owner || !same {
			return fmt.Errorf("%s comes back as %s of %s", f.Path, back.Files[i].Path, back.Files[i].Owner)
		}
	}
	return nil
}

// ResolveNow has the engine ask for the names of its upstreams now.
func (e *Engine) ResolveNow() {
	select {
	case e.care.again <- struct{}{}:
	default:
	}
}

// Budget is the pace of reloads: how long each of them would wait when they
// come at these times after the first.
func Budget(at ...time.Duration) []time.Duration {
	start := time.Now()
	b := budget{tokens: reloadsInARow, at: start}
	var waits []time.Duration
	for _, d := range at {
		w := b.wait(start.Add(d))
		waits = append(waits, w.Round(time.Millisecond))
		b.spend(start.Add(d + w))
	}
	return waits
}
