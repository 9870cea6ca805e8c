// A call of a hidden service, as tests of Files make it.
#pragma once

#include <array>
#include <string_view>

#include "proxy/wire.h"

namespace oboro::proxy {

inline Frame frame_for(Op op, uint32_t handle, std::array<int64_t, 4> arguments, std::string_view first = {},
                       std::string_view second = {}) {
  Frame frame;
  frame.op = op;
  frame.handle = handle;
  frame.arguments = arguments;
  frame.first = bytes_of(first);
  frame.second = bytes_of(second);
  return frame;
}

}  // namespace oboro::proxy
