package client

import "io"

// Events decodes all events of r.
func Events(r io.Reader, limit int) (events []string, err error) {
	d := newDecoder(r, limit)
	for {
		data, err := d.next()
		if err != nil {
			return events, err
		}
		events = append(events, string(data))
	}
}
