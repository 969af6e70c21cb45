package nginx

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// collectCaches removes the directories of caches that no kept version has: of
// hosts that are gone, and of locations that have another cache now.
func (e *Engine) collectCaches() error {
	dirs, err := filepath.Glob(filepath.Join(e.cfg.tempDir(), cachePrefix+"*"))
	if err != nil || len(dirs) == 0 {
		return err
	}
	entries, err := os.ReadDir(e.store.versions())
	if err != nil {
		return err
	}
	versions := make([]version, len(entries))
	for i, entry := range entries {
		if versions[i], err = e.store.read(entry.Name()); err != nil {
			return err
		}
	}
	var errs []error
	for _, dir := range dirs {
		zone := filepath.Base(dir)
		host := strings.TrimPrefix(zone, cachePrefix)
		host = host[:max(0, strings.LastIndexByte(host, '_'))]
		kept := false
		for _, v := range versions {
			text, err := v.content("http.d/virtualhost-" + host + ".conf")
			kept = kept || bytes.Contains(text, []byte(zone)) || err != nil && !errors.Is(err, fs.ErrNotExist)
		}
		if !kept {
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}
