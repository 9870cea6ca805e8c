// What users see. Data goes to standard output, and messages go to standard error. Text from the guest is escaped
// first.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "event/event.h"
#include "store/label_names.h"

namespace oboro::cli {

enum class Colour { none, red, yellow, green, cyan, dim };

// Coloured if standard output is a terminal and NO_COLOR is not set.
std::string coloured(Colour colour, std::string_view text);

// Bytes of the guest as text that does nothing to a terminal. Invalid UTF-8 becomes \xNN, control and
// direction-changing characters become \u{N}, and a backslash becomes \\.
std::string shown(std::string_view bytes);

std::string shown_time(uint64_t time_ns);  // "2026-11-22 21:45:56.123" (UTC)
std::string shown_labels(uint64_t labels, const store::LabelNames& names);
std::string shown_object(const event::Object& object);
std::string shown_process(const event::Subject& process);
std::string shown_event(const event::Event& event,
                        const store::LabelNames& names);                            // one line, without time and number
std::string shown_step(const event::Event& event, const store::LabelNames& names);  // with its time, in its colour
Colour colour_of(const event::Event& event);

void print(std::string_view text);    // to standard output, as it is
void message(std::string_view text);  // "oboro: text" to standard error, escaped
// False, and a message, if standard output could not take everything. There is no message if nobody reads it any more.
bool finish_output();
bool output_closed();  // whether finish_output() failed because nobody reads any more

// Pads the cells to columns, except for the last cell of each row.
std::string table(const std::vector<std::vector<std::string>>& rows);

}  // namespace oboro::cli
