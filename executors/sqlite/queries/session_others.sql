-- The other processes that use the file.
SELECT number FROM session WHERE number <> ?
