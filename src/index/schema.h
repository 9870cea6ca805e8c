// The tables of an index (docs/formats.md), and their version.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace oboro::index {

// Goes up with each change of the tables or of what they mean. The version of the events' binary form is beside it.
inline constexpr int kVersion = 2;
inline constexpr int64_t kApplicationId = 0x4f626f72;  // "Obor"
inline constexpr int64_t kDisplaced = -1;              // the parent of a name that has no path (PathTree::Entry)

struct Definition {
  std::string_view name;
  std::string_view sql;
};

// In the order of their names. The text is compared with that in the file.
inline constexpr std::array kDefinitions = {
    Definition{
        "gain",
        "CREATE TABLE gain(object INTEGER NOT NULL, ord INTEGER NOT NULL, labels INTEGER NOT NULL, source INTEGER "
        "NOT NULL, classified INTEGER NOT NULL, place INTEGER NOT NULL, PRIMARY KEY(object, ord)) STRICT, "
        "WITHOUT ROWID"},
    Definition{"gain_source", "CREATE INDEX gain_source ON gain(source, ord) WHERE source <> 0"},
    Definition{"meta", "CREATE TABLE meta(key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID"},
    Definition{"name",
               "CREATE TABLE name(node INTEGER PRIMARY KEY, parent INTEGER NOT NULL, children INTEGER NOT NULL, file "
               "INTEGER NOT NULL, name BLOB NOT NULL) STRICT"},
    Definition{"name_child", "CREATE INDEX name_child ON name(parent, name)"},
    Definition{
        "object",
        "CREATE TABLE object(key INTEGER PRIMARY KEY, labels INTEGER NOT NULL, since_ns INTEGER NOT NULL, "
        "since_order INTEGER NOT NULL, ended INTEGER NOT NULL, lasting INTEGER NOT NULL, pid INTEGER, inode "
        "INTEGER, generation INTEGER, fs INTEGER, fs_type INTEGER, unlinked INTEGER, names BLOB, last_path BLOB, "
        "last_crc INTEGER, detail BLOB) STRICT"},
    Definition{"object_last", "CREATE INDEX object_last ON object(last_crc, since_order) WHERE last_crc IS NOT NULL"},
    Definition{"object_of_boot", "CREATE INDEX object_of_boot ON object(key) WHERE ended = 0 AND lasting = 0"},
    Definition{"object_pid", "CREATE INDEX object_pid ON object(pid, since_order) WHERE pid IS NOT NULL"},
    Definition{"object_present", "CREATE INDEX object_present ON object(key) WHERE ended = 0"},
    Definition{"place",
               "CREATE TABLE place(ord INTEGER PRIMARY KEY, highest INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT"},
    Definition{"place_highest", "CREATE INDEX place_highest ON place(highest)"},
    Definition{"text",
               "CREATE TABLE text(list INTEGER NOT NULL, n INTEGER NOT NULL, text BLOB NOT NULL, PRIMARY KEY(list, n)) "
               "STRICT, WITHOUT ROWID"},
};

}  // namespace oboro::index
