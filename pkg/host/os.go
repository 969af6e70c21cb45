package host

import (
	"os"
	"strings"
)

// OS is the operating system as os-release(5) has it, "debian-12"; "" where
// there is no such file.
func OS() string {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		text, _ = os.ReadFile("/usr/lib/os-release")
	}
	return osOf(string(text))
}

func osOf(text string) string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		fields[name] = strings.Trim(value, `"'`)
	}
	return strings.Trim(fields["ID"]+"-"+fields["VERSION_ID"], "-")
}
