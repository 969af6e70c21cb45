package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"fairlead/pkg/fleet"
	"fairlead/pkg/host"
	"fairlead/pkg/message"
	"fairlead/subjects"
)

// blobs fetches files part by part. What it has of one lies in a file of its own,
// the parts one behind the other, until the file is whole: who goes on reads that,
// and asks for the rest. It implements handlers.Blobs.
type blobs struct {
	agent *Agent
	dir   string
}

// Bounds of fetching.
const (
	// partTime is how long one part may take: some times what it does over the
	// slowest link that a budget allows.
	partTime = 5 * time.Minute
	// partsAtOnce hides the time to the broker and back: so many are asked for at
	// most. It begins with one, goes on to more while they come fast, and back to
	// one where they do not: what else has to pass would wait behind them, and a
	// broker gives up a connection that does not take in 10 s what it has for it.
	partsAtOnce = 8
	partFast    = 500 * time.Millisecond
	partSlow    = 2 * time.Second
	// partPause is the pause before a part is asked for again.
	partPause = time.Second
)

func newBlobs(a *Agent) blobs {
	b := blobs{a, filepath.Join(a.cfg.State, "files")}
	b.sweep()
	return b
}

// sweep removes what no command asks for any more.
func (b blobs) sweep() {
	notes, _ := filepath.Glob(filepath.Join(b.dir, noted+"*")) // of runs that were cut off: files come one at a time
	for _, path := range notes {
		b.placed(path)
	}
	begun, _ := filepath.Glob(filepath.Join(b.dir, "*"))
	for _, path := range begun {
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > subjects.MaxCommandAge {
			_ = os.Remove(path)
		}
	}
}

func (b blobs) path(list string) string { return filepath.Join(b.dir, list) }

// Begun makes the directory, so that the room of its disk can be told.
func (b blobs) Begun(list string) (dir string, bytes int64) {
	_ = os.MkdirAll(b.dir, 0o700)
	if info, err := os.Stat(b.path(list)); err == nil {
		bytes = info.Size()
	}
	return b.dir, bytes
}

// Forget removes what was fetched of a file.
func (b blobs) Forget(list string) { _ = os.Remove(b.path(list)) }

// noted begins the names of notes about files that are being placed; each holds a placing.
const noted = "placing-"

// placing is a file that the agent makes beside the place that it is for.
type placing struct {
	Dir  string `json:"dir"`
	Name string `json:"name"` // relative to Dir
}

// Placing notes a file on disk until it is over.
func (b blobs) Placing(dir, name string) (done func(), err error) {
	note, err := json.Marshal(placing{dir, name})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(b.dir, noted+message.Digest(note)[:16])
	if err := host.WriteFile(path, note, 0o600); err != nil {
		return nil, fleet.Errorf(fleet.Failed, "keep in mind what is placed: %w", err)
	}
	return func() { b.placed(path) }, nil
}

// placed removes what is left of a file that was noted, and then the note. Where its
// directory is not there, as when its disk is not mounted, that waits.
func (b blobs) placed(path string) {
	var p placing
	note, err := os.ReadFile(path)
	if err == nil && json.Unmarshal(note, &p) == nil && p.Dir != "" {
		err = host.RemoveFile(p.Dir, p.Name)
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		b.agent.log.Warn("what an earlier run left of a file cannot be removed", "dir", p.Dir, "name", p.Name, "error", err)
	}
}

// Fetch brings what lacks of a file.
func (b blobs) Fetch(ctx context.Context, list string, until time.Time) (_ io.ReadCloser, err error) {
	b.sweep()
	blob, err := b.blob(ctx, list, until)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, fleet.Errorf(fleet.Failed, "keep parts of a file: %w", err)
	}
	file, err := os.OpenFile(b.path(list), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fleet.Errorf(fleet.Failed, "keep parts of a file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = file.Close()
		}
	}()
	have, err := b.kept(ctx, file, blob)
	if err != nil {
		return nil, err
	}
	b.agent.log.Info("fetching a file", "digest", blob.Digest, "bytes", blob.Size, "parts", blob.Parts.Count(), "have", have)
	if err := b.fetch(ctx, file, blob, have, until); err != nil {
		return nil, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, fleet.Errorf(fleet.Failed, "keep parts of a file: %w", err)
	}
	return whole{file, b.agent.cfg.Checkpoint}, nil
}

// whole is a file that was fetched.
type whole struct {
	*os.File
	checkpoint func(string)
}

func (w whole) Read(p []byte) (int, error) {
	n, err := w.File.Read(p)
	if errors.Is(err, io.EOF) {
		w.checkpoint(PointPlacing)
	}
	return n, err
}

// blob reads what a list names.
func (b blobs) blob(ctx context.Context, digest string, until time.Time) (message.Blob, error) {
	text, err := b.get(ctx, digest, until)
	if err != nil {
		return message.Blob{}, err
	}
	list, err := message.DecodeBlobList(text)
	if err != nil {
		return message.Blob{}, fleet.Errorf(fleet.Failed, "%s %w", digest, err)
	}
	var parts []byte
	for i := range list.Index.Count() {
		some, err := b.get(ctx, list.Index.At(i), until)
		if err != nil {
			return message.Blob{}, err
		}
		parts = append(parts, some...)
	}
	blob, err := list.Blob(parts)
	if err != nil {
		return blob, fleet.Errorf(fleet.Failed, "%w", err)
	}
	return blob, nil
}

// kept is how many parts are there. A power cut may leave one that was not
// written, so each is compared; the first that differs ends what counts.
func (b blobs) kept(ctx context.Context, file *os.File, blob message.Blob) (have int, err error) {
	in, part := host.Cancellable(ctx, file), make([]byte, message.BlobPart)
	for have < blob.Parts.Count() {
		piece := part[:blob.PartSize(have)]
		if _, err := io.ReadFull(in, piece); err != nil || message.Digest(piece) != blob.Parts.At(have) {
			break
		}
		have++
	}
	end := min(int64(have)*message.BlobPart, blob.Size)
	if _, err = file.Seek(end, io.SeekStart); err == nil {
		err = file.Truncate(end)
	}
	if err = errors.Join(err, ctx.Err()); err != nil {
		return 0, fleet.Errorf(fleet.Failed, "keep parts of a file: %w", err)
	}
	return have, nil
}

// fetch appends the parts behind the first so many.
func (b blobs) fetch(ctx context.Context, file *os.File, blob message.Blob, have int, until time.Time) error {
	return fetchEach(ctx, blob.Parts.Count()-have, func(ctx context.Context, i int) ([]byte, error) {
		content, err := b.get(ctx, blob.Parts.At(have+i), until)
		if err != nil {
			err = fleet.Errorf(fleet.KindOf(err), "part %d of %d: %w", have+i+1, blob.Parts.Count(), err)
		}
		return content, err
	}, func(i int, content []byte) error {
		if _, err := file.Write(content); err != nil {
			return fleet.Errorf(fleet.Failed, "keep part %d of %d: %w", have+i+1, blob.Parts.Count(), err)
		}
		b.agent.cfg.Checkpoint(PointPart)
		return nil
	})
}

// part is one that is asked for.
type part struct {
	content []byte
	err     error
	took    time.Duration
}

// fetchEach gets so many parts, several at once while they come fast, and takes them in
// order. It ends with the first error of either.
func fetchEach(ctx context.Context, count int, get func(ctx context.Context, i int) ([]byte, error), take func(i int, content []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var under []chan part
	defer func() {
		cancel()
		for _, came := range under {
			<-came
		}
	}()
	atOnce := 1
	for have, next := 0, 0; have < count; have++ {
		for ; next < count && len(under) < atOnce; next++ {
			came, i := make(chan part, 1), next
			under = append(under, came)
			go func() {
				asked := time.Now()
				content, err := get(ctx, i)
				came <- part{content, err, time.Since(asked)}
			}()
		}
		p := <-under[0]
		under = under[1:]
		if p.err != nil {
			return p.err
		}
		switch {
		case p.took < partFast:
			atOnce = min(atOnce+1, partsAtOnce)
		case p.took > partSlow:
			atOnce = 1
		}
		if err := take(have, p.content); err != nil {
			return err
		}
	}
	return nil
}

// get reads one content, over again while there is no link, until its time is over.
func (b blobs) get(ctx context.Context, digest string, until time.Time) ([]byte, error) {
	for {
		if now := b.agent.clock.Now(); !until.IsZero() && !now.IsZero() && !now.Before(until) {
			return nil, fleet.Errorf(fleet.Expired, "the command's time ran out at %s while the file was fetched; what came is kept for the next push of it", until.UTC().Format(time.RFC3339))
		}
		select {
		case <-b.agent.link.connected():
		case <-time.After(partTime): // look at the time
			continue
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		content, err := b.ask(ctx, digest)
		switch fleet.KindOf(err) {
		case "":
			return content, nil
		case fleet.Unknown, fleet.Failed:
			return nil, fleet.Errorf(fleet.Failed, "%w: push it again, with --whole if that is not enough", err)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		b.agent.log.Info("a part of a file did not come, asking again", "digest", digest, "error", err)
		pause(ctx, partPause)
	}
}

func (b blobs) ask(ctx context.Context, digest string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, partTime)
	defer cancel()
	return b.agent.conn.Blob(ctx, digest)
}
