package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

func newPublish(a *app) *cobra.Command {
	var w waiting
	var data, file string
	var wait bool
	c := &cobra.Command{
		Use:   "publish SUBJECT [--data JSON|@FILE|-] | -f FILE",
		Short: "send any command",
		Long: `Signs and stores commands; with --wait it also waits for their ends.

A SUBJECT is <node>.command.<method>.<domain>. A FILE holds one message per YAML document:
  subject: node1.command.shellcommand.operatingsystem
  data: {argv: [uname, -a]}
  expires: 1h`,
		Example: `  fairlead publish node1.command.reload.nginx --wait
  fairlead publish node1.command.shellcommand.operatingsystem --data '{"argv":["uname","-a"]}' --wait
  fairlead publish -f examples/messages/first-look.yaml --wait`,
		Args: cobra.MaximumNArgs(1),
	}
	c.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		var commands []client.Command
		switch {
		case len(args) == 1 && file != "":
			return usagef("give SUBJECT or -f FILE, not both")
		case file != "":
			if data != "" {
				return usagef("--data goes with SUBJECT; the messages of a file hold their own")
			}
			read, err := a.readMessages(file, time.Duration(w.expires))
			if err != nil {
				return err
			}
			commands = read
		case len(args) == 1:
			body, err := a.readBody(data)
			if err != nil {
				return err
			}
			s, err := commandSubject(args[0])
			if err != nil {
				return err
			}
			commands = []client.Command{{Subject: s, Body: body, Expires: time.Duration(w.expires)}}
		default:
			return usagef("give a SUBJECT such as node1.command.reload.nginx, or -f FILE")
		}
		if wait {
			outcomes, err := a.sendAndWait(ctx, c, commands, w.timeout)
			if err != nil {
				return err
			}
			return a.printOutcomes(ctx, c, outcomes)
		}
		sent, err := c.Send(ctx, commands...)
		if perr := a.printSent(sent); perr != nil {
			return perr
		}
		return err
	})
	w.flags(c)
	c.Flags().StringVar(&data, "data", "", "the body: JSON, @FILE, or - for standard input")
	c.Flags().StringVarP(&file, "file", "f", "", "file with one message per YAML document, - for standard input")
	c.Flags().BoolVar(&wait, "wait", false, "wait for the commands' ends")
	return c
}

func (a *app) printSent(sent []client.Sent) error {
	if sent == nil {
		sent = []client.Sent{}
	}
	return a.print(sent, func(t *table) {
		for _, s := range sent {
			t.row(s.ID, s.Subject, "stored")
		}
	}, func() []string {
		var ids []string
		for _, s := range sent {
			ids = append(ids, s.ID)
		}
		return ids
	})
}

func commandSubject(text string) (subjects.Subject, error) {
	s, err := subjects.Parse(text)
	if err == nil && s.Direction != subjects.Command {
		err = fleet.Errorf(fleet.Invalid, "subject %q is an event: only nodes send those; a command is <node>.command.<method>.<domain>", text)
	}
	return s, err
}

// readBody reads --data; what it gets must be JSON.
func (a *app) readBody(data string) ([]byte, error) {
	var body []byte
	var err error
	switch path, isFile := strings.CutPrefix(data, "@"); {
	case data == "-":
		body, err = io.ReadAll(io.LimitReader(a.stdin, bodyRead))
	case isFile:
		body, err = os.ReadFile(path)
	default:
		body = []byte(data)
	}
	if err != nil {
		return nil, fleet.Errorf(fleet.Invalid, "--data: %w", err)
	}
	if len(strings.TrimSpace(string(body))) > 0 && !json.Valid(body) {
		return nil, fleet.Errorf(fleet.Invalid, "--data is not JSON: write for example '{\"argv\":[\"uname\"]}', @FILE, or - for standard input")
	}
	return body, nil
}

// bodyRead is more than any body may have, so that an oversize one is told.
const bodyRead = 4 << 20

// messageFile is one document of a message file.
type messageFile struct {
	Subject string    `yaml:"subject"`
	Data    yaml.Node `yaml:"data"`
	Expires string    `yaml:"expires"`
}

// readMessages reads a message file; all of its faults are returned at once.
func (a *app) readMessages(path string, expires time.Duration) ([]client.Command, error) {
	var in io.Reader = a.stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fleet.Errorf(fleet.Invalid, "%w", err)
		}
		defer f.Close()
		in = f
	}
	var commands []client.Command
	var faults fleet.Faults
	d := yaml.NewDecoder(in)
	d.KnownFields(true)
	for {
		var node yaml.Node
		err := d.Decode(&node)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			faults = append(faults, fleet.Fault{File: path, Message: err.Error()})
			break
		}
		command, err := readMessage(&node, expires)
		if err != nil {
			faults = append(faults, fleet.Fault{File: path, Line: node.Line, Message: err.Error()})
			continue
		}
		commands = append(commands, command)
	}
	if len(faults) == 0 && len(commands) == 0 {
		faults = append(faults, fleet.Fault{File: path, Message: "holds no message: write subject: and data:"})
	}
	return commands, faults.Err()
}

func readMessage(node *yaml.Node, expires time.Duration) (client.Command, error) {
	var m messageFile
	if err := decodeKnown(node, &m); err != nil {
		return client.Command{}, err
	}
	s, err := commandSubject(m.Subject)
	if err != nil {
		return client.Command{}, err
	}
	command := client.Command{Subject: s, Expires: expires}
	if m.Expires != "" {
		var d days
		if err := d.Set(m.Expires); err != nil {
			return client.Command{}, err
		}
		command.Expires = time.Duration(d)
	}
	if !m.Data.IsZero() {
		var value any
		if err := m.Data.Decode(&value); err != nil {
			return client.Command{}, fmt.Errorf("data: %w", err)
		}
		if command.Body, err = json.Marshal(value); err != nil {
			return client.Command{}, fmt.Errorf("data: %w", err)
		}
	}
	return command, nil
}

// decodeKnown refuses unknown fields; yaml does so only for decoders.
func decodeKnown(node *yaml.Node, m *messageFile) error {
	text, err := yaml.Marshal(node)
	if err != nil {
		return err
	}
	d := yaml.NewDecoder(strings.NewReader(string(text)))
	d.KnownFields(true)
	if err := d.Decode(m); err != nil {
		return fmt.Errorf("%s", strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", ""), "yaml: unmarshal errors:"))
	}
	return nil
}
