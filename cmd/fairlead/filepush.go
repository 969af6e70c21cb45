package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fairlead/handlers"
	"fairlead/pkg/client"
	"fairlead/pkg/fleet"
)

// filesDomain is where files go; there is one.
const filesDomain = "files"

// pushing is what `fairlead push` does with a file.
type pushing struct {
	mode, owner string
	whole       bool
}

func newPush(a *app) *cobra.Command {
	var t targets
	var w waiting
	var p pushing
	c := &cobra.Command{
		Use:   "push FILE NODE…:PATH | FILE -l SELECTOR :PATH",
		Short: "put a file on nodes, in parts that a broken link does not lose",
		Long: `Stores the file at the broker, in parts named by their SHA-256, and has each node fetch it and put it in its place. What the
broker has is not sent again, nor what a node has fetched: after a break both go on where they were. Nodes that are not there
fetch it when they come back, as long as --expires says; a transfer that has not ended by then ends expired, and what the node
has of the file is kept for the next push of it.

PATH is below a directory that the node allows (fairlead agent --push-dir), a relative one below the first of those; one that
ends in a slash takes the file's own name. Every node of the tenant may read what is pushed to any: secrets have other ways,
see docs/files.md.`,
		Example: `  fairlead push examples/hello/hello.yaml node1:hello.yaml
  fairlead push site.tar node1 node2:/srv/www/ --owner www-data:www-data
  fairlead push site.tar -l role=edge :/srv/www/site.tar --max-per region=2 --expires 14d
  fairlead push site.tar --nodes-from nodes.txt :site.tar --timeout 1h
  fairlead push site.tar --all :site.tar --expires 14d --wait=false`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completePush,
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		nodes, to, err := destination(args[1:])
		if err != nil {
			return err
		}
		file, info, err := openPushed(args[0])
		if err != nil {
			return err
		}
		defer file.Close()
		if to == "" || strings.HasSuffix(to, "/") {
			to = path.Join(to, filepath.Base(args[0]))
		}
		if p.mode == "" {
			p.mode = fmt.Sprintf("%04o", info.Mode().Perm()&0o755)
		}
		return a.with(func(ctx context.Context, c *client.Client, _ []string) error {
			chosen, err := t.find(ctx, a, c, nodes)
			if err != nil {
				return err
			}
			return a.pushFile(ctx, c, file, info.Size(), to, chosen, p, w)
		})(cmd, args)
	}
	t.flags(a, c)
	w.flags(a, c)
	w.waitFlag(c, true)
	w.timeout = days(10 * time.Minute)
	f := c.Flags()
	f.Lookup("timeout").DefValue = w.timeout.String()
	f.StringVar(&p.mode, "mode", "", "permissions on the nodes, such as 0640 (default those of FILE, for others than its owner without writing)")
	f.StringVar(&p.owner, "owner", "", "`USER[:GROUP]` on the nodes (default who runs the agent)")
	f.BoolVar(&p.whole, "whole", false, "send every part, also those that the broker has")
	return c
}

// destination takes NODE…:PATH apart: the last argument names the path, and a node
// before it unless nodes are chosen otherwise.
func destination(args []string) (nodes []string, to string, err error) {
	last := len(args) - 1
	node, to, found := strings.Cut(args[last], ":")
	if !found {
		return nil, "", usagef("say where the file goes on the nodes: `fairlead push FILE %s:PATH`", strings.Join(args, " "))
	}
	for _, other := range args[:last] {
		if strings.Contains(other, ":") {
			return nil, "", usagef("%q: one PATH goes for all nodes, behind the last one", other)
		}
	}
	nodes = args[:last:last]
	if node != "" {
		nodes = append(nodes, node)
	}
	return nodes, to, nil
}

// openPushed opens a file to push.
func openPushed(name string) (*os.File, os.FileInfo, error) {
	info, err := os.Stat(name) // before it is opened: a pipe would wait
	switch {
	case err != nil:
		return nil, nil, fleet.Errorf(fleet.Invalid, "%w", err)
	case info.IsDir():
		return nil, nil, fleet.Errorf(fleet.Invalid, "%s is a directory: push an archive of it", name)
	case !info.Mode().IsRegular():
		return nil, nil, fleet.Errorf(fleet.Invalid, "%s is no file", name)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, nil, fleet.Errorf(fleet.Invalid, "%w", err)
	}
	return file, info, nil
}

// pushFile stores a file and has nodes fetch it.
func (a *app) pushFile(ctx context.Context, c *client.Client, file *os.File, size int64, to string, nodes chosen, p pushing, w waiting) error {
	a.progress("reading %s", file.Name())
	stored, err := c.Store(ctx, file, size, client.StoreOptions{For: time.Duration(w.expires.days), Whole: p.whole,
		Progress: func(done, all int64) {
			a.progress("storing %s: %sB of %sB", file.Name(), sizeText(done), sizeText(all))
		}})
	if err != nil {
		return fmt.Errorf("%s: %w", file.Name(), err)
	}
	if !a.streams() && !a.events && a.output != "name" {
		a.say("%s %s: %sB, %sB of it new to the broker, SHA-256 %s", a.paint(dim, "·"), file.Name(), sizeText(stored.Size), sizeText(stored.Sent), stored.Digest)
	}
	body, err := json.Marshal(handlers.FilePushBody{List: stored.List, Digest: stored.Digest, Size: stored.Size, Path: to, Mode: p.mode, Owner: p.owner})
	if err != nil {
		return err
	}
	return a.sendTo(ctx, c, nodes, handlers.MethodFilePush, filesDomain, body, w)
}

// completePush completes the file first, then nodes.
func (a *app) completePush(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	if strings.Contains(typed, ":") {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, how := a.completeMany(cmd, args, typed)
	for i, name := range names {
		node, rest, _ := strings.Cut(name, "\t")
		names[i] = node + ":\t" + rest
	}
	return names, how | cobra.ShellCompDirectiveNoSpace
}
