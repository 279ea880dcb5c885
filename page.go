package hostler

// Page asks for one page of a listing in keyset order.
type Page struct {
	Cursor string // from the page before; "" for the first
	Limit  int    // 1 to 1,000; 0 means 100
}

// List is one page of a listing.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"cursor of the next page; absent on the last"`
}
