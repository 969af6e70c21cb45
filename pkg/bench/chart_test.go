package bench_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlead/pkg/bench"
)

// results writes what two runs found, the larger first.
func results(t *testing.T) (files []string) {
	t.Helper()
	for _, nodes := range []int{1000, 100} {
		r := bench.Scaled{Nodes: nodes, Memory: bench.Cost{Broker: 60 << 10, Bare: 50 << 10}, Idle: bench.Cost{Broker: 0.05},
			Figures: []bench.Figures{{Name: "a command to every node", Count: nodes, Rate: 2000, Took: time.Duration(nodes) * time.Millisecond / 2}}}
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "run.json")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

func TestATableHasAColumnForEachRunBySize(t *testing.T) {
	runs, err := bench.ReadScaled(results(t)...)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := bench.Table(&out, runs); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"| nodes | 100 | 1000 |\n", "| memory of a node: broker | 60 KiB | 60 KiB |\n", "| processor at rest: broker | 5.0 % | 5.0 % |\n",
		"| time: command to all, last answer | 50 ms | 500 ms |\n"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("no line %q in\n%s", line, out.String())
		}
	}
}

func TestAChartIsWellFormedAndDrawsWhatWasMeasured(t *testing.T) {
	runs, err := bench.ReadScaled(results(t)...)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := bench.Chart(&out, runs); err != nil {
		t.Fatal(err)
	}
	points := 0
	for d := xml.NewDecoder(&out); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "circle" {
			points++
		}
	}
	if points != 2*5 { // two of memory, one each of processor, rate and time
		t.Errorf("%d points", points)
	}
	if err := bench.Chart(io.Discard, runs[:1]); err == nil {
		t.Error("one size is no picture")
	}
}

func TestAChartWantsResultsOfFleets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "other.json")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{file, filepath.Join(t.TempDir(), "missing.json")} {
		if _, err := bench.ReadScaled(file); err == nil || !strings.Contains(err.Error(), filepath.Base(file)) {
			t.Errorf("%s: %v", file, err)
		}
	}
}
