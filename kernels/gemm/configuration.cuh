// The constants a product is compiled with (GemmConfiguration in C# chooses them) and what follows from them.
#pragma once

#include "abi/gemm.h"
#include "common/ptx.cuh"

#ifndef OUTPUT_F32
#define OUTPUT_F32 0
#endif
#ifndef MAGIC
#define MAGIC 0
#endif
// Row length and group of an output that is quantized.
#ifndef OUTPUTS
#define OUTPUTS 1
#define OUTPUT_GROUP 1
#endif
// Whether columns have scales of their own beside a weight that is halves.
#ifndef SCALED
#define SCALED 0
#endif
// Codebooks: bytes of a codeword, bytes of a code, k steps that a lane's codes are read for, codewords of a book, copies of each in shared
// memory, books that a tile's columns need (0: one for every position along K, which travels with the stage).
#ifndef CODEWORD
#define CODEWORD 8
#define CODE_BYTES 1
#define READ_STEPS 1
#define BOOK 0
#define BOOK_COPIES 1
#define TILE_BOOKS 1
#endif

// FORMAT, weights first.
constexpr int kF16 = 0, kW8A8 = 1, kW4A8 = 2, kW8A16 = 3, kW4A16 = 4, kLookupA16 = 5, kLookupA8 = 6;
// EPILOGUE
constexpr int kStore = 0, kResidual = 1, kGatedResidual = 2, kQuantize = 3, kHeads = 4;
// ACTIVATION
constexpr int kNone = 0, kRelu = 1, kSilu = 2, kGeluTanh = 3;

constexpr bool kLookup = FORMAT == kLookupA16 || FORMAT == kLookupA8;
constexpr bool kInteger = FORMAT == kW8A8 || FORMAT == kW4A8 || FORMAT == kLookupA8;
constexpr bool kWeightOnly = FORMAT == kW8A16 || FORMAT == kW4A16;
constexpr bool kGroupScales = FORMAT != kF16 && !kLookup;
constexpr bool kOutputScales = kLookup || SCALED != 0;

constexpr int kWarps = WARPS_M * WARPS_N;
constexpr int kThreads = kWarps * 32;
// What a warp owns: m16 tiles by n8 tiles.
constexpr int kRowTiles = TILE_M / WARPS_M / 16;
constexpr int kColumnTiles = TILE_N / WARPS_N / 8;
static_assert(TILE_M == kRowTiles * WARPS_M * 16 && TILE_N == kColumnTiles * WARPS_N * 8 && kColumnTiles % 2 == 0, "tile of whole fragments");
constexpr int kRecords = TILE_N / 16;

// A k step is what one mma takes of an input row: 32 bytes, 16 halves or 32 codes. Weight-only codes are stored for two of them.
constexpr int kStepBytes = 32;
constexpr int kStepsPerRead = kLookup ? READ_STEPS : kWeightOnly ? 2 : 1;
// A lane's eight bytes of a step and column come from 8 / CODEWORD codes; a record has two columns for each lane.
constexpr int kLaneBytes = kLookup ? READ_STEPS * 2 * CODE_BYTES * 8 / CODEWORD : FORMAT == kW4A8 || FORMAT == kW4A16 ? 8 : 16;
constexpr int kReads = KSTEPS / kStepsPerRead;
static_assert(KSTEPS % kStepsPerRead == 0, "whole reads");

// Codewords of 8 and 16 bytes are all that a lane needs of a column for one step, or two: K is permuted inside a unit of so many steps.
constexpr bool kPermuted = kLookup && CODEWORD >= 8;
constexpr int kUnitSteps = kLookup && CODEWORD == 16 ? 2 : 1;
static_assert(kStepsPerRead % kUnitSteps == 0, "codes of whole units");

// Groups: GROUP values each at a pitch of whole k steps; 0: the whole row is one.
constexpr int kGroupPitch = (GROUP + 31) / 32 * 32;
constexpr int kGroupSteps = GROUP == 0 ? 0 : kGroupPitch / (kInteger ? 32 : 16);
constexpr bool kWholeGroups = GROUP != 0 && FORMAT != kF16 && KSTEPS % (kGroupSteps == 0 ? 1 : kGroupSteps) == 0;
constexpr int kStageGroups = kWholeGroups ? KSTEPS / kGroupSteps : 1;
// Stages of a group, where it is longer than one; unknown for whole rows.
constexpr int kGroupStages = GROUP == 0 || kWholeGroups ? 1 : kGroupSteps / KSTEPS;
static_assert(kWholeGroups || GROUP == 0 || FORMAT == kF16 || kGroupSteps % KSTEPS == 0, "stages and groups fall together");

// Corrections are f16 whatever the codes are, 16 bytes a lane and step: as many steps in a stage as codes leave room for. Codes of codebooks
// are so few that two steps have room of their own.
constexpr int kStageLaneBytes = kReads * kLaneBytes;
constexpr int kCorrectionReads = kLookup && kStageLaneBytes < 32 ? (KSTEPS < 2 ? 1 : 2) : kStageLaneBytes < 16 ? 1 : kStageLaneBytes / 16;

// Codebooks in shared memory. A codeword takes four bytes at least; its copies lie side by side, and lane i reads the (i % BOOK_COPIES)th: with
// 128 bytes of them no two lanes that a load serves at once meet in a bank.
constexpr int kBookSlot = CODEWORD < 4 ? 4 : CODEWORD;
constexpr int kBookBytes = (BOOK * kBookSlot + 15) / 16 * 16;
constexpr int kCodeStride = kBookSlot * BOOK_COPIES;
constexpr bool kStageBooks = kLookup && TILE_BOOKS == 0;
constexpr int kStageBookBytes = kStageBooks ? KSTEPS * kStepBytes / CODEWORD * kBookBytes : 0;
static_assert(BOOK_COPIES == 1 || kCodeStride % 16 == 0, "copies are stored 16 bytes at a time");

// Stages follow the books of the tile.
constexpr int kStagesAt = kLookup && !kStageBooks ? TILE_BOOKS * BOOK_COPIES * kBookBytes : 0;

// A stage in shared memory. Rows are 16 bytes longer than their steps: an odd number of 16-byte chunks, so that the eight rows that
// ldmatrix reads at once lie in different banks. Permuted rows are read by 8 bytes a lane, four rows at once, or 16 bytes, two at once: their
// 32 or 64 bytes lie in different banks where the pitch is an odd number of those.
constexpr int kUnitBytes = kUnitSteps * kStepBytes;
constexpr int kRowPitch = !kPermuted ? KSTEPS * kStepBytes + 16 : (KSTEPS / kUnitSteps % 2 == 1 ? 0 : kUnitBytes) + KSTEPS * kStepBytes;
constexpr int kFragmentsAt = TILE_M * kRowPitch;
constexpr int kLongestLane = kInteger && kCorrectionReads * 16 > kStageLaneBytes ? kCorrectionReads * 16 : kStageLaneBytes;
constexpr int kFragmentBytes = kRecords * 32 * kLongestLane;
constexpr int kBooksAt = kFragmentsAt + kFragmentBytes;
constexpr int kColumnScalesAt = kBooksAt + kStageBookBytes;
constexpr int kRowScalesAt = kColumnScalesAt + (kGroupScales ? kStageGroups * TILE_N * 4 : 0);
constexpr int kStageBytes = kRowScalesAt + (kInteger ? kStageGroups * TILE_M * 4 : 0);
