package bus

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

// Context says where and as whom to connect. It is a file of the nats tool,
// in $XDG_CONFIG_HOME/nats/context or ~/.config/nats/context, so that both
// programs use the same ones.
type Context struct {
	Name        string `json:"-"`
	Description string `json:"description"`
	URL         string `json:"url"` // several separated by commas
	Creds       string `json:"creds"`
	CA          string `json:"ca"`
	Cert        string `json:"cert"`
	Key         string `json:"key"`
	TLSFirst    bool   `json:"tls_first"`
	InboxPrefix string `json:"inbox_prefix"`
	Token       string `json:"token"`
	User        string `json:"user"`
	Password    string `json:"password"`
	NKey        string `json:"nkey"` // file with a seed
	UserJWT     string `json:"user_jwt"`
	Domain      string `json:"jetstream_domain"`
}

// LoadContext reads a context, the selected one when name is empty. The error
// says which there are, and is Invalid where none is selected or the file is
// wrong, Unknown where there is no such context.
func LoadContext(name string) (Context, error) {
	if name == "" {
		selected, err := SelectedContext()
		if err != nil {
			return Context{}, err
		}
		if selected == "" {
			return Context{}, fleet.Errorf(fleet.Invalid, "no context is selected: name one with --context (%s)", thereAre())
		}
		name = selected
	}
	path, err := contextPath(name)
	if err != nil {
		return Context{}, err
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Context{}, fleet.Errorf(fleet.Unknown, "no context %q: %s", name, thereAre())
	}
	if err != nil {
		return Context{}, fleet.Errorf(fleet.Invalid, "read context %q: %w", name, err)
	}
	c := Context{Name: name}
	if err := json.Unmarshal(data, &c); err != nil {
		return Context{}, fleet.Errorf(fleet.Invalid, "context %q: %s is not a context file: %w", name, path, err)
	}
	for _, file := range []*string{&c.Creds, &c.CA, &c.Cert, &c.Key, &c.NKey} {
		*file = expandHome(*file)
	}
	return c, nil
}

// SaveContext writes a context, in one step. Fields that the file has and
// Context has not stay as they are.
func SaveContext(c Context) error {
	path, err := contextPath(c.Name)
	if err != nil {
		return err
	}
	all := make(map[string]any)
	if data, err := os.ReadFile(path); err == nil {
		if err := json.Unmarshal(data, &all); err != nil {
			return fleet.Errorf(fleet.Invalid, "context %q: %s is not a context file: %w: remove it to write a new one", c.Name, path, err)
		}
	}
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	if data, err = json.MarshalIndent(all, "", "  "); err != nil {
		return err
	}
	return replaceFile(path, append(data, '\n'))
}

// SelectContext makes a context the one that is used when none is named. The
// error is Unknown where it does not exist.
func SelectContext(name string) error {
	if _, err := LoadContext(name); err != nil || name == "" {
		return cmp.Or(err, fleet.Errorf(fleet.Invalid, "name the context to select: %s", thereAre()))
	}
	before, err := SelectedContext()
	if err != nil || before == name {
		return err
	}
	dir, err := contextHome()
	if err != nil {
		return err
	}
	if before != "" { // `nats context select -` goes back to it
		if err := replaceFile(filepath.Join(dir, "previous-context.txt"), []byte(before)); err != nil {
			return err
		}
	}
	return replaceFile(filepath.Join(dir, "context.txt"), []byte(name))
}

// SelectedContext is the selected context's name, "" for none.
func SelectedContext() (string, error) {
	dir, err := contextHome()
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(filepath.Join(dir, "context.txt"))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(data)), err
}

// Contexts are the names of all contexts, sorted.
func Contexts() ([]string, error) {
	dir, err := contextHome()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(dir, "context"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, err
}

// RemoveContext removes a context, and its selection where it was selected.
// The error is Unknown where it does not exist.
func RemoveContext(name string) error {
	path, err := contextPath(name)
	if err != nil {
		return err
	}
	if err := os.Remove(path); errors.Is(err, os.ErrNotExist) {
		return fleet.Errorf(fleet.Unknown, "no context %q: %s", name, thereAre())
	} else if err != nil {
		return err
	}
	if selected, err := SelectedContext(); err != nil || selected != name {
		return err
	}
	dir, err := contextHome()
	if err != nil {
		return err
	}
	return os.Remove(filepath.Join(dir, "context.txt"))
}

// contextHome is the nats tool's directory.
func contextHome() (string, error) {
	if dir := os.Getenv("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, "nats"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fleet.Errorf(fleet.Invalid, "find the contexts: %w: set HOME or XDG_CONFIG_HOME", err)
	}
	return filepath.Join(home, ".config", "nats"), nil
}

// contextPath allows the names that the nats tool allows.
func contextPath(name string) (string, error) {
	if name == "" || strings.Contains(name, "..") || strings.ContainsAny(name, "/\x00"+string(os.PathSeparator)) {
		return "", fleet.Errorf(fleet.Invalid, "context name %q: use a file name without '/' and '..'", name)
	}
	dir, err := contextHome()
	return filepath.Join(dir, "context", name+".json"), err
}

func thereAre() string {
	names, err := Contexts()
	if err != nil || len(names) == 0 {
		return "there is none yet; `fairlead dev` makes one"
	}
	return "there are " + strings.Join(names, ", ")
}

func expandHome(path string) string {
	rest, ok := strings.CutPrefix(path, "~/")
	if home, err := os.UserHomeDir(); ok && err == nil {
		return filepath.Join(home, rest)
	}
	return path
}

// replaceFile puts data in place in one step; contexts can hold passwords.
func replaceFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	f, err := os.CreateTemp(dir, ".new-*") // 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}
