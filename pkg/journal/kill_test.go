package journal_test

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"fairlead/pkg/journal"
)

// TestMain lets the test binary be the process that is killed, or the one
// whose disk is full.
func TestMain(m *testing.M) {
	switch os.Getenv("JOURNAL_HELPER") {
	case "write":
		writeUntilKilled(os.Getenv("JOURNAL_PATH"), os.Getenv("JOURNAL_ROUND"))
	case "limit":
		exit(fillLimited(os.Getenv("JOURNAL_PATH")))
	case "nobody":
		exit(openAsNobody(os.Getenv("JOURNAL_PATH")))
	}
	os.Exit(m.Run())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// helper prepares this binary as another process.
func helper(mode, path string, more ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), "JOURNAL_HELPER="+mode, "JOURNAL_PATH="+path), more...)
	return cmd
}

// workers is how many goroutines the helper writes with.
const workers = 4

// writeUntilKilled prints what it has done after each call has returned.
func writeUntilKilled(path, round string) {
	j, err := journal.Open(path, journal.Options{})
	if err != nil {
		exit(err)
	}
	if j.Recovered() != "" {
		exit(fmt.Errorf("%s", j.Recovered()))
	}
	var out sync.Mutex
	say := func(err error, words ...string) {
		if err != nil {
			exit(err)
		}
		out.Lock()
		defer out.Unlock()
		os.Stdout.WriteString(strings.Join(words, " ") + "\n")
	}
	say(nil, "open")
	for w := range workers {
		go func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("%s.%d.%d", round, w, n)
				say(j.Start(entry(id)), "started", id)
				say(j.Finish(entry(id), event(id+"/1"), event(id+"/2")), "finished", id)
				say(j.Enqueue(event(id+"/3")), "enqueued", id)
				say(j.Spool("d", 1, []byte(id+strings.Repeat(".", 2000))), "spooled", id)
			}
		}()
	}
	select {}
}

// killAfter runs the helper, kills it once it has said so many lines, and
// gives all that it said.
func killAfter(t *testing.T, path string, round, lines int) (said map[string][]string) {
	t.Helper()
	cmd := helper("write", path, "JOURNAL_ROUND="+strconv.Itoa(round))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	said = map[string][]string{}
	in := bufio.NewReader(stdout)
	for n := 0; ; n++ {
		if n == lines {
			must(t, cmd.Process.Kill())
		}
		line, err := in.ReadString('\n')
		if err != nil {
			break
		}
		verb, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		said[verb] = append(said[verb], id)
	}
	_ = cmd.Wait()
	if stderr.Len() > 0 {
		t.Fatalf("helper: %s", stderr.String())
	}
	return said
}

func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	total := 0
	for round := range 25 {
		lines := rand.IntN(400)
		if round < 3 {
			lines = round // while it opens, and at once after
		}
		said := killAfter(t, path, round, lines)
		j, err := journal.Open(path, journal.Options{})
		must(t, err)
		if j.Recovered() != "" {
			t.Fatal(j.Recovered())
		}
		events := times(t, j)
		for _, id := range said["finished"] {
			e, ok, err := j.Lookup(id)
			if err != nil || !ok || e.State != "succeeded" || string(e.Answer) != "answer "+id || events[id+"/1"] != 1 || events[id+"/2"] != 1 {
				t.Fatalf("round %d: %s was finished, now %+v, %v, events %d and %d", round, id, e, err, events[id+"/1"], events[id+"/2"])
			}
		}
		for _, id := range said["enqueued"] {
			if events[id+"/3"] != 1 {
				t.Fatalf("round %d: event of %s is there %d times", round, id, events[id+"/3"])
			}
		}
		for _, id := range said["started"] {
			if _, ok, err := j.Lookup(id); !ok || err != nil {
				t.Fatalf("round %d: %s was started: %v", round, id, err)
			}
		}
		for id := range events {
			command, _, _ := strings.Cut(id, "/")
			if e, ok, err := j.Lookup(command); err != nil || !ok || e.State != "succeeded" || events[command+"/1"] != 1 || events[command+"/2"] != 1 {
				t.Fatalf("round %d: event %s without its outcome, or alone: %+v, %v", round, id, e, err)
			}
		}
		if started, err := j.Started(); err != nil || len(started) > workers*(round+1) {
			t.Fatalf("round %d: %d interrupted, %v", round, len(started), err)
		}
		spoolHolds(t, j, said["spooled"])
		total += len(said["finished"])
		must(t, j.Close())
	}
	t.Logf("%d commands finished in 25 lives", total)
}

// times counts each event of the outbox, checks that those of a worker are
// in order, and empties it.
func times(t *testing.T, j *journal.Journal) map[string]int {
	t.Helper()
	all, err := j.Outbox(1 << 20)
	must(t, err)
	counts, last, positions := map[string]int{}, map[string]string{}, []uint64{}
	for _, q := range all {
		counts[q.ID]++
		positions = append(positions, q.Position)
		parts := strings.FieldsFunc(q.ID, func(r rune) bool { return r == '.' || r == '/' })
		n, _ := strconv.Atoi(parts[2])
		worker, place := parts[0]+"."+parts[1], fmt.Sprintf("%09d/%s", n, parts[3])
		if place <= last[worker] {
			t.Fatalf("%s came after %s", q.ID, last[worker])
		}
		last[worker] = place
	}
	if len(all) != j.OutboxLen() || !slices.IsSorted(positions) {
		t.Fatalf("%d events, counted %d, positions %v", len(all), j.OutboxLen(), positions)
	}
	must(t, j.Sent(positions...))
	return counts
}

// spoolHolds checks that these batches are in the spool once, and empties it.
func spoolHolds(t *testing.T, j *journal.Journal, ids []string) {
	t.Helper()
	all, err := j.SpoolPeek(1 << 20)
	must(t, err)
	there := map[string]int{}
	for _, s := range all {
		there[strings.TrimRight(string(s.Data), ".")]++
	}
	for _, id := range ids {
		if there[id] != 1 {
			t.Fatalf("batch %s is there %d times", id, there[id])
		}
	}
	for id := range maps.Keys(there) {
		if there[id] != 1 {
			t.Fatalf("batch %s is there %d times", id, there[id])
		}
	}
	if n, _ := j.SpoolLen(); n != len(all) {
		t.Fatalf("%d batches, counted %d", len(all), n)
	}
	if len(all) > 0 {
		must(t, j.SpoolDone(all[len(all)-1].Position))
	}
}
