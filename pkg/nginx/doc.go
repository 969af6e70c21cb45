// Package nginx turns resources into an nginx configuration and makes one
// nginx run it.
//
// It promises:
//   - Render is a pure function: the same resources give the same bundle, and
//     the same digest, in station and agent. What differs per node (paths,
//     user, workers) stands in the bundle as placeholders, in nginx.conf alone,
//     and is filled in when the bundle is staged.
//   - A bundle is served whole or not at all. The commit point is the rename of
//     one symbolic link; every path inside a version is absolute and points into
//     that version.
//   - Apply answers with what nginx itself said and did: its own lines on the
//     control log, its workers, the digest on its status socket. Never a
//     tailed file, never a sleep.
//   - What does not serve is rolled back, and the last good version is proven to
//     serve again before Apply returns.
//   - kill -9 of the agent at any line leaves a tree from which the next Run
//     converges, and an nginx that goes on serving.
//
// One Engine owns one nginx. Its methods are safe to call at the same time;
// those that touch nginx wait for each other.
//
// Start with Render, then Engine.Run and Engine.Apply.
package nginx
