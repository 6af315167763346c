package reflection

// Routes and Methods name what the recorded exchanges have to cover.
func Routes(s *Server) []string {
	var all []string
	for _, r := range s.routes() {
		all = append(all, r.method+" "+r.path)
	}
	return all
}

func Methods() []string {
	all := []string{"register", "runActionState", "streamChunk"}
	for _, m := range (&connection{}).methods() {
		all = append(all, m.name)
	}
	return all
}

var BackOff = backOff
