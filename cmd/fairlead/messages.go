package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"go.yaml.in/yaml/v3"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
)

// readMessages reads a message file, one command per YAML document; all of
// its faults are returned at once.
func (a *app) readMessages(path string, expires time.Duration) ([]client.Command, error) {
	in, name := a.stdin, "stdin"
	if path != "-" {
		name = path
		f, err := os.Open(path)
		if err != nil {
			return nil, fleet.Errorf(fleet.Invalid, "%w", err)
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return nil, fleet.Errorf(fleet.Invalid, "%s is a directory: name a file", path)
		}
		in = f
	}
	var commands []client.Command
	var faults fleet.Faults
	d := yaml.NewDecoder(in)
	for {
		var document yaml.Node
		err := d.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			faults = append(faults, fleet.Fault{File: name, Message: err.Error()})
			break
		}
		if len(document.Content) == 0 || document.Content[0].Tag == "!!null" {
			continue // nothing between two lines of dashes
		}
		r := messageReader{file: name, command: client.Command{Expires: expires}}
		r.read(document.Content[0])
		faults = append(faults, r.faults...)
		commands = append(commands, r.command)
	}
	if len(faults) == 0 && len(commands) == 0 {
		faults = append(faults, fleet.Fault{File: name, Message: "holds no message: write subject: and data:"})
	}
	return commands, faults.Err()
}

// messageReader reads one document.
type messageReader struct {
	file    string
	command client.Command
	faults  fleet.Faults
}

func (r *messageReader) fault(at *yaml.Node, message string) {
	r.faults = append(r.faults, fleet.Fault{File: r.file, Line: at.Line, Message: message})
}

func (r *messageReader) read(message *yaml.Node) {
	if message.Kind != yaml.MappingNode {
		r.fault(message, "is no message: write subject: and data:")
		return
	}
	seen := make(map[string]bool)
	for i := 0; i < len(message.Content); i += 2 {
		key, value := message.Content[i], message.Content[i+1]
		if seen[key.Value] {
			r.fault(key, key.Value+" is given twice; put --- between two messages")
			continue
		}
		seen[key.Value] = true
		switch key.Value {
		case "subject":
			r.subject(value)
		case "data":
			r.data(value)
		case "expires":
			r.expires(value)
		default:
			r.fault(key, "unknown field "+key.Value+": use subject, data and expires")
		}
	}
	if !seen["subject"] {
		r.fault(message, "subject is missing: write for example subject: node1.command.reload.nginx")
	}
}

func (r *messageReader) subject(value *yaml.Node) {
	s, err := commandSubject(value.Value)
	if err != nil {
		r.fault(value, err.Error())
	}
	r.command.Subject = s
}

func (r *messageReader) data(value *yaml.Node) {
	var plain any
	err := value.Decode(&plain)
	if err == nil {
		r.command.Body, err = json.Marshal(plain)
	}
	var unsupported *json.UnsupportedTypeError
	switch {
	case errors.As(err, &unsupported):
		r.fault(value, "data cannot be written as JSON: put the keys of maps in quotes")
	case err != nil:
		r.fault(value, "data: "+err.Error())
	}
}

func (r *messageReader) expires(value *yaml.Node) {
	var l life
	if err := l.Set(value.Value); err != nil {
		r.fault(value, "expires "+value.Value+": "+err.Error())
	}
	r.command.Expires = time.Duration(l.days)
}
