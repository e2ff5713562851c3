// Package stdout is the sink that prints: one line for each message, as JSON for
// other programs or as a table for people.
//
//	sluice sink print | jq 'select(.kind == "block") | .body.number'
//
// It is Shared, so that two processes print each message once between them.
// Durable means that the system took the bytes. A message that comes again is
// printed again: whoever reads the lines tells them apart by id.
package stdout
