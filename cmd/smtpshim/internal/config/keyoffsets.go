package config

// maxDepth is the depth of arrays and inline tables in which keys are looked for.
const maxDepth = 16

// An offsetIndex maps the paths of keys and tables to where they begin in the text, in
// octets. Unlike a [keyIndex] it has the keys inside inline tables.
type offsetIndex map[string]int

// offset returns where path begins, or the nearest table around it; 0 if there is none.
func (x offsetIndex) offset(path string) int { return keyIndex(x).line(path) }

// indexOffsets indexes text, which the decoder must accept.
func indexOffsets(text string) offsetIndex {
	s := keyScanner{text: text, line: 1, index: keyIndex{}, items: map[string]int{}, length: len(text), offsets: offsetIndex{}}
	s.all()
	return s.offsets
}

// An openValue is an array or an inline table whose end is not read yet.
type openValue struct {
	path  string
	array bool
	items int
}

// value reads the value of the key at path, over as many lines as it takes.
func (s *keyScanner) value(path string) {
	var open []openValue
	for s.text != "" {
		switch c := s.text[0]; {
		case c == '\n' && len(open) == 0:
			return
		case c == '[' || c == '{':
			switch {
			case len(open) >= maxDepth: // longer and longer paths would take much memory
				path = ""
			case len(open) > 0 && open[len(open)-1].array:
				path = item(open[len(open)-1].path, open[len(open)-1].items)
			}
			s.recordOffset(path, len(open))
			open = append(open, openValue{path: path, array: c == '['})
			s.skip(1)
			if c == '{' {
				path = s.innerKeys(open)
			}
		case (c == ']' || c == '}') && len(open) > 0:
			open = open[:len(open)-1]
			s.skip(1)
		case c == ',' && len(open) > 0:
			top := &open[len(open)-1]
			top.items++
			s.skip(1)
			if !top.array {
				path = s.innerKeys(open)
			}
		case c == '"' || c == '\'':
			s.quoted()
		case c == '#':
			s.skipLine()
		default:
			s.skip(1)
		}
	}
}

// innerKeys reads the key that follows in an inline table, if any, and returns its path.
func (s *keyScanner) innerKeys(open []openValue) (path string) {
	path = open[len(open)-1].path
	s.skipBlank()
	if s.text == "" || s.text[0] == '}' {
		return path
	}
	begin := s.length - len(s.text)
	for _, key := range s.keys() {
		if len(open) < maxDepth {
			path = join(path, key)
			s.recordOffsetAt(path, begin)
		}
	}
	s.skip(1) // =
	return path
}

func (s *keyScanner) recordOffset(path string, depth int) {
	if depth < maxDepth {
		s.recordOffsetAt(path, s.length-len(s.text))
	}
}

func (s *keyScanner) recordOffsetAt(path string, offset int) {
	if s.offsets == nil {
		return
	}
	if _, ok := s.offsets[path]; !ok {
		s.offsets[path] = offset
	}
}
