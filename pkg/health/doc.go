// Package health asks servers, again and again, whether they are well, and says
// which of them are not to be used.
//
// It promises:
//   - A server is judged by what it does several times in a row, in both
//     directions, so that one lost packet changes nothing.
//   - The servers of a group are never all marked: when every one fails, the
//     group is in panic and none is.
//   - What was judged is kept in a file: after a restart a server that was down
//     stays so until it has passed again.
//   - Checks of many servers are spread over time, and few run at once.
//
// It reads nothing of an answer but its status. Start with New, Restore, Watch
// and Run.
package health
