package admin

import (
	"context"
	"time"
)

// OpenFS opens a store on a file system of a test.
var OpenFS = openFS

// Clock gives the service another clock.
func (t *Tenants) Clock(now func() time.Time) { t.now = now }

// WriteSpent writes what was spent.
func (t *Tenants) WriteSpent() { t.writeSpent(context.Background()) }

// Impatient has failures tried again at once.
func (t *Tenants) Impatient() { t.retry = time.Millisecond }

// KeepAnswers has so many answers kept.
func (t *Tenants) KeepAnswers(most int) { t.answers.most = most }
