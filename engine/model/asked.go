package model

import (
	"encoding/json"
	"slices"
	"strings"
)

// Asked returns the name of the model that a request of m with a config is about. That is m's,
// unless the config has a "version", by which providers ask for another model than the one that
// was named: openai/small with the version "large" is openai/large. A version that m declares as
// one of its own ([Info].Versions) is m.
//
// Code that allows or prices models by their names has to look at this one as well.
func Asked(m Model, config json.RawMessage) string {
	name, version := m.Desc().Name, versionOf(config)
	if version == "" || slices.Contains(m.Info().Versions, version) {
		return name
	}
	provider, _, found := strings.Cut(name, "/")
	if !found {
		return version
	}
	return provider + "/" + version
}

// SameVersion reports whether two configs ask for the same version of a model.
func SameVersion(a, b json.RawMessage) bool { return versionOf(a) == versionOf(b) }

func versionOf(config json.RawMessage) string {
	var c map[string]json.RawMessage
	var version string
	if json.Unmarshal(config, &c) != nil || json.Unmarshal(c["version"], &version) != nil {
		return "" // the provider refuses what is no text
	}
	return version
}
