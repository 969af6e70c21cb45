package health

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"

	"fairlead/pkg/host"
)

// kept is what the file holds of a server that fails.
type kept struct {
	Group   string    `json:"group"`
	Address string    `json:"address"`
	Since   time.Time `json:"since"`
	Reason  string    `json:"reason"`
}

// Restore reads what was judged before a restart; call it before the first
// Watch. A file that is missing or cannot be read means that all are well.
func (m *Monitor) Restore() {
	data, err := os.ReadFile(m.file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var all []kept
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil {
		m.log.Warn("what servers failed is not known any more: all are taken for well", "error", err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range all {
		m.kept[key{k.Group, k.Address}] = k
	}
}

// save writes the servers that fail.
func (m *Monitor) save() {
	m.saving.Lock()
	defer m.saving.Unlock()
	all := []kept{}
	for _, s := range m.Failing() {
		all = append(all, kept{s.Group, s.Address, s.Since, s.Reason})
	}
	data, err := json.Marshal(all)
	if err == nil {
		err = host.WriteFile(m.file, append(data, '\n'), 0o600)
	}
	if err != nil {
		m.log.Warn("what servers fail will not be known after a restart", "error", err)
	}
}
